package cnitest

import (
	"strings"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

var virtualScenarios = []scenario{
	{"virtual links from the host", virtualLinks, false},
	{"virtual link replaced in the pod", virtualLinkReplaced, false},
}

// virtualLinks: each kind is moved into the pod and back unchanged. A link of the pod with the ifindex of one in the
// host is not changed, nor is one that the pod puts in a member's place.
func virtualLinks(f *Fixture) {
	for _, kind := range f.LinkKinds() {
		f.Each(kind, func(f *Fixture) {
			pod := f.EmptyPod("p1")
			was := map[string]bond.Link{}
			for i, name := range []string{"bkm1", "bkm2"} {
				f.AddHostLink(name, kind)
				was[name] = f.LinkAt(linktest.Host, name)
				own := []string{"own1", "own2"}[i]
				f.Must(f.AddTwin(pod, own, was[name].Index), f.SetUp(pod, own))
			}
			before := f.LinkState()
			args := f.Args("c1", pod, f.Config(map[string]any{"linksInContainer": false, "links": Links("bkm1", "bkm2")}))
			f.MustAdd(args)
			wantVirtualMembers(f, pod)
			f.Must(f.Release(pod, "bkm1"), f.Rename(pod, "bkm2", "other"))
			f.Converge("c1")
			wantVirtualMembers(f, pod)
			f.MustDel(args)
			f.WantNothingLeft(before)
			for name, b := range was {
				if l := f.LinkAt(linktest.Host, name); l.Index != b.Index || l.Kind != b.Kind {
					f.Errorf("%s in the host: %+v; it was %+v", name, l, b)
				}
			}
			replaceVirtualMember(f, pod, args)
		})
	}
}

func wantVirtualMembers(f *Fixture, pod string) {
	f.Helper()
	for _, name := range []string{"bkm1", "bkm2"} {
		if !f.InBond(pod, name) || !f.LinkAt(pod, name).Up {
			f.Errorf("%s in the pod: %+v", name, f.LinkAt(pod, name))
		}
	}
	for _, name := range []string{"own1", "own2"} {
		if l := f.LinkAt(pod, name); l.Master != 0 || !l.Up {
			f.Errorf("%s of the pod: %+v", name, l)
		}
	}
}

// replaceVirtualMember: a pod that puts its own link in a member's place keeps it. The log names what was not returned.
func replaceVirtualMember(f *Fixture, pod string, args *skel.CmdArgs) {
	f.Helper()
	f.MustAdd(args)
	l := f.LinkAt(pod, "bkm1")
	f.Must(f.DeleteLink(pod, "bkm1"), f.AddTwin(pod, "bkm1", l.Index), f.SetMAC(pod, "bkm1", l.MAC), f.Enslave(pod, "bkm1", "bond0"))
	f.MustDel(args)
	if _, found := f.Link(linktest.Host, "bkm1"); found {
		f.Error("the pod's own link is in the host")
	}
	if l := f.LinkAt(pod, "bkm1"); l.Master != 0 {
		f.Errorf("the pod's own link in the pod: %+v", l)
	}
	f.LinkAt(linktest.Host, "bkm2")
	if log := f.Logged(); strings.Count(log, "not returned") != 1 || !strings.Contains(log, "bkm1") || strings.Contains(log, "bkm2") {
		f.Errorf("log: %s", log)
	}
}

// virtualLinkReplaced: links that are in the pod before ADD are identified in the same way.
func virtualLinkReplaced(f *Fixture) {
	pod := f.EmptyPod("p1")
	for _, name := range []string{"net1", "net2"} {
		_, err := f.AddVirtual(pod, name)
		f.Must(err)
	}
	args := f.Args("c1", pod, f.Config(nil))
	f.MustAdd(args)
	l := f.LinkAt(pod, "net1")
	f.Must(f.DeleteLink(pod, "net1"), f.AddTwin(pod, "net1", l.Index))
	out := f.Converge("c1")
	if m := out.Observed.Members[0]; m.Location != bond.Lost || f.InBond(pod, "net1") {
		f.Errorf("the twin is taken for the member: %+v", m)
	}
	f.MustDel(args)
	f.LinkAt(pod, "net1")
}
