package cni

import (
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

func (n *node) trust(pci bond.PCIAddress) {
	n.t.Helper()
	n.must(n.SetVF(pci, bond.VFSettings{Trust: new(true)}))
}

// TestStartDegraded: with a link missing ADD fails, unless it was told to be content with the rest.
func TestStartDegraded(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	n.must(n.UnbindVF(n.VFs("pf1")[0]))
	before := n.String()
	_, err := n.add(n.args("c1", pod, n.config(nil)))
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "links", "net2", "the pod")
	n.nothingLeft(before)

	args := n.args("c1", pod, n.config(map[string]any{"startDegraded": true}))
	result := n.mustAdd(args)
	if !strings.Contains(n.stderr.String(), "net2") {
		t.Errorf("nothing is said of the missing link: %s", n.stderr)
	}
	r := n.record("c1")
	if m := r.Members[1]; len(r.Members) != 2 || m.Name != "net2" || !m.Unidentified || m.PCI != "" {
		t.Errorf("recorded as %+v", m)
	}
	check := n.args("c1", pod, n.withPrev(args.StdinData, result))
	if err := n.plugin.Funcs().Check(check); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	// A link of that name is not taken for it, whatever it is.
	n.must(n.BindVF(n.VFs("pf1")[0]))
	n.must(n.MoveToNetns(linktest.Host, n.hostVF(1, 0), pod, "net2"))
	if _, err := n.engine().Converge(t.Context(), r.Key); err != nil {
		t.Fatal(err)
	}
	if l := n.link(pod, "net2"); l.Master != 0 {
		t.Errorf("a link was taken by its name: %+v", l)
	}
	if err := n.plugin.Funcs().Check(check); err != nil {
		t.Errorf("CHECK beside a link of that name: %v", err)
	}
	n.must(n.UnbindVF(n.VFs("pf1")[0]))
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestStartDegradedKnown: a missing VF that sriov-cni noted joins the bond when it comes.
func TestStartDegradedKnown(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	vf := n.VFs("pf1")[0]
	n.note("net2", pod)
	mac := n.link(pod, "net2").MAC
	n.must(n.UnbindVF(vf))
	args := n.args("c1", pod, n.config(map[string]any{"startDegraded": true}))
	n.mustAdd(args)
	if m := n.record("c1").Members[1]; m.PCI != vf || m.MAC != mac || m.Unidentified {
		t.Fatalf("recorded as %+v", m)
	}
	n.must(n.BindVF(vf))
	if _, err := n.engine().Converge(t.Context(), n.record("c1").Key); err != nil {
		t.Fatal(err)
	}
	if l := n.link(pod, "net2"); l.Master != n.link(pod, "bond0").Index || l.MAC != mac {
		t.Errorf("it has come and is %+v", l)
	}
	n.mustDel(args)
}

// TestStartDegradedNone: a bond without any link is none.
func TestStartDegradedNone(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	n.must(n.UnbindVF(n.VFs("pf0")[0]))
	n.must(n.UnbindVF(n.VFs("pf1")[0]))
	before := n.String()
	_, err := n.add(n.args("c1", pod, n.config(map[string]any{"startDegraded": true})))
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "net1", "net2")
	n.nothingLeft(before)
}

// TestLinkTimeout: ADD waits for a link as long as it was told to, and no longer.
func TestLinkTimeout(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	vf := n.VFs("pf1")[0]
	n.must(n.UnbindVF(vf))
	args := n.args("c1", pod, n.config(map[string]any{"linkTimeout": 30}))
	done := make(chan error, 1)
	go func() {
		_, err := n.add(args)
		done <- err
	}()
	n.waiting.Wait()
	n.must(n.BindVF(vf))
	n.must(n.MoveToNetns(linktest.Host, n.hostVF(1, 0), pod, "net2"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n.link(pod, "net2").Master == 0 {
		t.Error("the link is not in the bond")
	}
	n.mustDel(args)
	n.must(n.UnbindVF(vf))
	began := time.Now()
	_, err := n.add(n.args("c1", pod, n.config(map[string]any{"linkTimeout": 1})))
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "net2")
	if took := time.Since(began); took < time.Second {
		t.Errorf("it gave up after %s", took)
	}
}

// TestSingleLink: a bond of one link, where that is asked for.
func TestSingleLink(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	one := map[string]any{"cniVersion": "1.1.0", "links": []any{map[string]any{"name": "net1"}}}
	_, err := n.add(n.args("c1", pod, n.config(one)))
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "links", "allowSingleLink")
	one["allowSingleLink"] = true
	args := n.args("c1", pod, n.config(one))
	result := n.mustAdd(args)
	if n.link(pod, "net1").Master != n.link(pod, "bond0").Index || result.Interfaces[0].PciID != string(n.VFs("pf0")[0]) {
		t.Errorf("result %+v", result.Interfaces[0])
	}
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestLinkSettings: queue IDs and priorities are in the kernel after ADD, and kept.
func TestLinkSettings(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(map[string]any{"links": []any{
		map[string]any{"name": "net1", "queueId": 2, "prio": 10}, map[string]any{"name": "net2", "queueId": 1, "prio": 20},
	}}))
	result := n.mustAdd(args)
	if got, want := result.Interfaces[0].Mac, n.link(pod, "net2").MAC; got != string(want) {
		t.Errorf("the bond has MAC %s, want that of the highest priority, %s", got, want)
	}
	wantTuned := func(when string) {
		t.Helper()
		obs, err := n.Observe(t.Context(), n.record("c1"))
		n.must(err)
		for i, want := range [][2]int32{{2, 10}, {1, 20}} {
			if m := obs.Members[i]; int32(*m.QueueID) != want[0] || *m.Prio != want[1] {
				t.Errorf("%s member %d has queue %d and prio %d, want %v", when, i, *m.QueueID, *m.Prio, want)
			}
		}
	}
	wantTuned("after ADD")
	n.must(n.Release(pod, "net2"))
	if _, err := n.engine().Converge(t.Context(), n.record("c1").Key); err != nil {
		t.Fatal(err)
	}
	wantTuned("after it was released")
	n.must(n.TuneMember(pod, "net1", new(uint16(7)), nil))
	err := n.plugin.Funcs().Check(n.args("c1", pod, n.withPrev(args.StdinData, result)))
	cnitest.WantError(t, err, types.ErrInternal, "queueId 7, not 2")
	n.mustDel(args)
	n.nothingLeft(before)
}
