package link

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func (g *fixture) search(inHost bool, names ...string) bond.MemberQuery {
	return bond.MemberQuery{Key: g.r.Key, Sandbox: g.r.Sandbox, Names: names, InHost: inHost}
}

// find searches for members that must be found without a warning.
func (g *fixture) find(s bond.MemberQuery) bond.MemberResult {
	g.Helper()
	found, err := g.k.FindMembers(g.Context(), s)
	if err != nil || len(found.Links) != len(s.Names) || len(found.Warnings) > 0 {
		g.Fatalf("found %+v (%v)", found, err)
	}
	return found
}

func TestFindMembers(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	l := g.show(g.pod, "net1")
	g.in(g.pod, "link", "set", "net1", "mtu", "1400", "up")
	got := g.find(g.search(false, "net1")).Links[0]
	want := bond.Member{Name: "net1", Index: l.Index, Kind: "veth", Serial: g.serial(g.pod, "net1"), MAC: l.MAC, Original: bond.Original{Name: "net1", MAC: l.MAC, MTU: 1400, Up: true}}
	if got.Member != want || got.Missing != nil || got.PF != nil {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestFindMembersInTheHost: a virtual link of the host gets an ifindex for the pod that is far from those in use there.
func TestFindMembersInTheHost(t *testing.T) {
	g := newFixture(t)
	e := g.veth(g.host, "ext0")
	g.veth(g.host, "ext1")
	found := g.find(g.search(true, "ext0", "ext1"))
	got := found.Links[0]
	want := bond.Member{Name: "ext0", HostIndex: e.Index, Index: got.Member.Index, Kind: "veth", Serial: g.serial(g.host, "ext0"), MAC: e.MAC, Original: bond.Original{Name: "ext0", MAC: e.MAC, MTU: 1500, FromHost: true}}
	if got.Member != want || got.Missing != nil {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if a, b := got.Member.Index, found.Links[1].Member.Index; a < chosenIndex || b < chosenIndex || a == b {
		t.Errorf("ifindexes for the pod: %d and %d", a, b)
	}
}

// needTun loads the tun driver if it is a module, as in the lab's kernel.
func needTun(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		return
	}
	if out, err := exec.Command("modprobe", "tun").CombinedOutput(); err != nil {
		t.Fatalf("modprobe tun: %v: %s", err, out)
	}
}

func TestFindMembersRejects(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "add", "br0", "type", "bridge")
	g.in(g.pod, "link", "set", "net1", "master", "br0")
	needTun(t)
	g.in(g.pod, "tuntap", "add", "tun0", "mode", "tun")
	for name, text := range map[string]string{"net1": "enslaved to br0", "lo": "loopback", "tun0": "no Ethernet address"} {
		_, err := g.k.FindMembers(t.Context(), g.search(false, name))
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), name) || errors.Is(err, bond.ErrGone) {
			t.Errorf("%s: %v; want %q", name, err, text)
		}
	}
	_, err := g.k.FindMembers(t.Context(), g.search(false, "tun0", "lo"))
	if err == nil || !strings.Contains(err.Error(), "tun0") || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("two that cannot be: %v; want both named", err)
	}
}

func TestFindMembersMissing(t *testing.T) {
	g := newFixture(t)
	g.member("net2")
	found := g.find(g.search(false, "net1", "net2"))
	l := found.Links[0]
	if !errors.Is(l.Missing, bond.ErrGone) || !strings.Contains(l.Missing.Error(), "net1") || l.Member != (bond.Member{Name: "net1", Unidentified: true}) {
		t.Errorf("missing: %+v", l)
	}
	if found.Links[1].Missing != nil || found.Links[1].Member.Index == 0 {
		t.Errorf("present: %+v", found.Links[1])
	}
	if m := found.Missing(); len(m) != 1 || m[0] != 0 {
		t.Errorf("missing are %v", m)
	}
}

// TestFindMembersWaits: a link that arrives during the wait is found at once; the wait ends with its timeout, and with
// the caller's context.
func TestFindMembersWaits(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	s := g.search(false, "net1", "net2")
	s.Wait = time.Minute
	began := time.Now()
	came := make(chan error, 1)
	found := make(chan bond.MemberResult, 1)
	go func() {
		f, err := g.k.FindMembers(t.Context(), s)
		found <- f
		came <- err
	}()
	select {
	case f := <-found:
		t.Fatalf("it did not wait: %+v", f)
	case <-time.After(50 * time.Millisecond): // it must wait, which no event shows
	}
	g.member("net2")
	if f, err := <-found, <-came; err != nil || len(f.Missing()) > 0 || f.Links[1].Member.Index != g.show(g.pod, "net2").Index {
		t.Errorf("after the link came: %+v (%v)", f, err)
	}
	if took := time.Since(began); took > s.Wait/2 {
		t.Errorf("the link was found after %s", took)
	}

	s.Names, s.Wait = []string{"net1", "net9"}, 100*time.Millisecond
	if f := g.find(s); len(f.Missing()) != 1 {
		t.Errorf("after the wait: %+v", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s.Wait = time.Hour
	if _, err := g.k.FindMembers(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}
}

// TestFindMembersOddCacheFiles: a cache file of sriov-cni that cannot be read, or is about another link, causes a
// warning and is not used.
func TestFindMembersOddCacheFiles(t *testing.T) {
	for name, text := range map[string]string{"broken": `{"deviceID":`, "of another link": `{"deviceID":"0000:01:10.0","trust":"on"}`} {
		t.Run(name, func(t *testing.T) {
			g := newFixture(t)
			g.member("net1")
			g.note("net1", text)
			found, err := g.k.FindMembers(t.Context(), g.search(false, "net1"))
			if err != nil || len(found.Warnings) != 1 || !strings.Contains(found.Warnings[0], "net1") {
				t.Fatalf("found %+v (%v); want one warning", found, err)
			}
			if l := found.Links[0]; l.Missing != nil || l.Member.PCI != "" || l.Member.VF != nil || l.Member.Index == 0 {
				t.Errorf("found %+v", l)
			}
		})
	}
}

// TestFindMembersInCacheFiles: a missing VF is identified by sriov-cni's cache file.
func TestFindMembersInCacheFiles(t *testing.T) {
	g := newFixture(t)
	g.note("net1", `{"deviceID":"0000:01:10.0","Master":"ens1","VFID":0,"MAC":"02:00:00:00:00:01","MTU":9000,"trust":"on","OrigVfState":{"EffectiveMAC":"02:00:00:00:00:09"}}`)
	found, err := g.k.FindMembers(t.Context(), g.search(false, "net1"))
	if err != nil || len(found.Links) != 1 || len(found.Warnings) != 1 || !strings.Contains(found.Warnings[0], "ens1") {
		t.Fatalf("found %+v (%v); want a warning that there is no PF", found, err)
	}
	want := bond.Member{Name: "net1", PCI: "0000:01:10.0", MAC: "02:00:00:00:00:01", Original: bond.Original{Name: "net1", MAC: "02:00:00:00:00:01", MTU: 9000, Up: true},
		SriovCNI: &bond.SriovCNI{Cache: filepath.Join(g.k.sriov, g.r.Key.ContainerID+"-net1")}} // there is no claim
	if l := found.Links[0]; !reflect.DeepEqual(l.Member, want) || !errors.Is(l.Missing, bond.ErrGone) || !strings.Contains(l.Missing.Error(), "0000:01:10.0") {
		t.Errorf("got %+v, want %+v, missing", l, want)
	}
	// The VF is on the bus, but its PF has no netdev.
	if err = errors.Join(os.MkdirAll(filepath.Join(g.k.sysfs.root, "0000:01:00.0"), 0o700), os.MkdirAll(filepath.Join(g.k.sysfs.root, "0000:01:10.0"), 0o700),
		os.Symlink("../0000:01:00.0", filepath.Join(g.k.sysfs.root, "0000:01:10.0", "physfn"))); err != nil {
		t.Fatal(err)
	}
	found, err = g.k.FindMembers(t.Context(), g.search(false, "net1"))
	if err != nil || !reflect.DeepEqual(found.Links[0].Member, want) || found.Links[0].Missing == nil {
		t.Errorf("without its PF: %+v (%v)", found, err)
	}
	if found := g.find(g.search(true, "net1")); !found.Links[0].Member.Unidentified {
		t.Errorf("in the host sriov-cni's notes mean nothing: %+v", found.Links[0])
	}
}

// note writes sriov-cni's cache file of an attachment.
func (g *fixture) note(name, text string) {
	g.Helper()
	kit.Must(g, os.WriteFile(filepath.Join(g.k.sriov, g.r.Key.ContainerID+"-"+name), []byte(text), 0o600))
}

// TestVFLock: no VF is changed while sriov-cni has its lock, and no caller waits for it.
func TestVFLock(t *testing.T) {
	g := newFixture(t)
	const vf = bond.PCIAddress("0000:01:10.0")
	kit.Must(t, os.Mkdir(g.k.locks.Dir, 0o700))
	g.r.Members = append(g.r.Members, bond.Member{Name: "net1", PCI: vf})
	unlock, err := g.k.locks.TryLock(vf)
	kit.Must(t, err)
	actions := []plan.Action{
		plan.RestoreVF{PCI: vf, VF: bond.VF{PF: "0000:01:00.0"}},
		plan.MoveToPod{Link: plan.LinkRef{Location: bond.InHost, Index: 900, PCI: vf}, Name: "net1"},
		plan.MoveToHost{Link: plan.LinkRef{Location: bond.InPod, Index: 900, PCI: vf}, Name: "eth7"},
	}
	for _, a := range actions {
		if err := g.k.Apply(t.Context(), g.r, a); !errors.Is(err, bond.ErrInUse) {
			t.Errorf("%s while sriov-cni has the VF: %v", a, err)
		}
	}
	unlock()
	for _, a := range actions {
		if err := g.k.Apply(t.Context(), g.r, a); !errors.Is(err, bond.ErrGone) {
			t.Errorf("%s of a VF that is not there: %v", a, err)
		}
	}
	if err := g.k.Apply(t.Context(), g.r, plan.MoveToPod{Link: g.ref(g.host, "lo"), Name: "x"}); errors.Is(err, bond.ErrBusy) {
		t.Errorf("a virtual link waits for a lock: %v", err)
	}
}
