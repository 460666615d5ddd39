package cni

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// hostLinks makes two virtual links in the host and a pod in which each ifindex that they have is that of another link.
func (n *node) hostLinks() (pod string, config []byte) {
	n.t.Helper()
	pod = "/run/netns/p1"
	n.pods[pod] = n.AddPod(pod)
	for i, name := range []string{"host0", "host1"} {
		l, err := n.AddVirtual(linktest.Host, name)
		n.must(err)
		n.must(n.AddTwin(pod, []string{"eth0", "eth1"}[i], l.Index))
		n.must(n.SetUp(pod, []string{"eth0", "eth1"}[i]))
	}
	return pod, n.config(map[string]any{"linksInContainer": false, "links": []any{map[string]string{"name": "host0"}, map[string]string{"name": "host1"}}})
}

// TestVirtualHostLinks: the ifindex that a link has in the host means nothing in the pod.
func TestVirtualHostLinks(t *testing.T) {
	n := newNode(t, 0)
	pod, config := n.hostLinks()
	before := n.String()
	args := n.args("c1", pod, config)
	n.mustAdd(args)
	b := n.link(pod, "bond0")
	for _, name := range []string{"host0", "host1"} {
		if l := n.link(pod, name); l.Master != b.Index {
			t.Errorf("%s in the pod: %+v", name, l)
		}
	}
	for _, name := range []string{"eth0", "eth1"} {
		if l := n.link(pod, name); l.Master != 0 || !l.Up {
			t.Errorf("%s of the pod: %+v", name, l)
		}
	}
	for i := range 2 {
		n.must(n.Release(pod, "host0"))
		n.must(n.Rename(pod, "host1", "other"))
		if _, err := n.engine().Converge(t.Context(), n.record("c1").Key); err != nil {
			t.Fatal(i, err)
		}
		if n.link(pod, "host0").Master != b.Index || n.link(pod, "host1").Master != b.Index {
			t.Errorf("not repaired: %s", n.Fake)
		}
	}
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestVirtualHostLinkReplaced: a pod that puts a link of its own in the member's place keeps it, and the log says what was
// not given back.
func TestVirtualHostLinkReplaced(t *testing.T) {
	n := newNode(t, 0)
	pod, config := n.hostLinks()
	args := n.args("c1", pod, config)
	n.mustAdd(args)
	l := n.link(pod, "host0")
	n.must(n.DeleteLink(pod, "host0"))
	n.must(n.AddTwin(pod, "host0", l.Index))
	n.must(n.Enslave(pod, "host0", "bond0"))
	n.mustDel(args)
	if _, there := n.Link(linktest.Host, "host0"); there {
		t.Error("the pod's own link is in the host")
	}
	n.link(pod, "host0")
	n.link(linktest.Host, "host1")
	if log := n.stderr.String(); !strings.Contains(log, "not returned") || !strings.Contains(log, "host0") || strings.Contains(log, "host1") {
		t.Errorf("log: %s", log)
	}
}

// TestVirtualHostLinkOfOlderVersion: an ADD of an older version recorded the ifindex in the host alone. Whatever has it in the
// pod stays there.
func TestVirtualHostLinkOfOlderVersion(t *testing.T) {
	n := newNode(t, 0)
	pod, config := n.hostLinks()
	args := n.args("c1", pod, config)
	n.mustAdd(args)
	rec := n.record("c1")
	for i := range rec.Members {
		m := &rec.Members[i]
		m.Index, m.HostIndex, m.Serial, m.Kind = m.HostIndex, 0, 0, ""
	}
	n.must(n.store.Save(rec))
	if _, err := n.engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.mustDel(args)
	for _, name := range []string{"eth0", "eth1"} {
		if l := n.link(pod, name); l.Master != 0 || !l.Up {
			t.Errorf("%s of the pod: %+v", name, l)
		}
		if _, there := n.Link(linktest.Host, name); there {
			t.Errorf("%s is in the host", name)
		}
	}
	if log := n.stderr.String(); strings.Count(log, "not returned") != 2 {
		t.Errorf("log: %s", log)
	}
}

// TestVirtualLinkReplacedInThePod: linksInContainer true knows its links by the same proof.
func TestVirtualLinkReplacedInThePod(t *testing.T) {
	n := newNode(t, 0)
	pod := "/run/netns/p1"
	n.pods[pod] = n.AddPod(pod)
	for _, name := range []string{"net1", "net2"} {
		_, err := n.AddVirtual(pod, name)
		n.must(err)
	}
	args := n.args("c1", pod, n.config(nil))
	n.mustAdd(args)
	l := n.link(pod, "net1")
	n.must(n.DeleteLink(pod, "net1"))
	n.must(n.AddTwin(pod, "net1", l.Index))
	out, err := n.engine().Converge(t.Context(), n.record("c1").Key)
	n.must(err)
	if m := out.Observed.Members[0]; m.Location != bond.Lost || n.link(pod, "net1").Master != 0 {
		t.Errorf("the twin is taken for the member: %+v", m)
	}
	n.mustDel(args)
	n.link(pod, "net1")
}
