package link

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestRDMADevices: sysfs has a directory per RDMA device of a PCI function, if its netns has the device.
func TestRDMADevices(t *testing.T) {
	s := fakeSysfs(t, nil)
	mkdir(t, filepath.Join(s.root, string(someVF), "infiniband", "mlx5_3"))
	mkdir(t, filepath.Join(s.root, string(anotherVF), "infiniband"))
	if got := s.rdmaOf(someVF); got != "mlx5_3" {
		t.Errorf("the RDMA device of %s is %q", someVF, got)
	}
	root, err := os.Open(s.root)
	kit.Must(t, err)
	defer func() { _ = root.Close() }()
	if got := rdmaBelow(int(root.Fd()), string(someVF)); got != "mlx5_3" {
		t.Errorf("from its directory it is %q", got)
	}
	if got := s.rdmaOf(anotherVF) + s.rdmaOf(somePF) + s.rdmaOf("0000:ff:00.0"); got != "" {
		t.Errorf("functions without one have %q", got)
	}
}

// TestQdiscsAreReadOncePerResync: a result is used until it is too old, unless it must be fresh, and for its link only.
func TestQdiscsAreReadOncePerResync(t *testing.T) {
	q := &linkCache[string]{maxAge: time.Hour}
	reads := 0
	read := func() (string, error) { reads++; return "clsact", nil }
	get := func(inode uint64, index int, fresh bool) {
		t.Helper()
		kind, err := q.get(linkKey{netns.ID{Inode: inode}, index}, fresh, read)
		if kind != "clsact" || err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
	for i, c := range []struct {
		inode uint64
		index int
		fresh bool
		reads int
	}{{1, 7, false, 1}, {1, 7, false, 1}, {1, 7, true, 2}, {1, 8, false, 3}, {2, 7, false, 4}, {2, 7, false, 4}} {
		if get(c.inode, c.index, c.fresh); reads != c.reads {
			t.Errorf("step %d: %d reads, want %d", i, reads, c.reads)
		}
	}
	q.maxAge = 0
	if get(1, 7, false); reads != 5 {
		t.Errorf("%d reads, want another of one that is too old", reads)
	}
	for i := range maxCached + 1 {
		get(3, i, false)
	}
	if n := len(q.read); n > maxCached {
		t.Errorf("%d results are kept, want %d at most", n, maxCached)
	}
}

// TestIngressQdisc uses a veth, so that it runs without the bonding driver; a kernel without traffic control is
// skipped.
func TestIngressQdisc(t *testing.T) {
	g := newFixture(t)
	g.veth(g.pod, "net1")
	c := g.conn()
	see := func() []string {
		t.Helper()
		d, err := c.byName("net1", false)
		kit.Must(t, err)
		return c.trafficControl(d, true)
	}
	if tc := see(); tc == nil || len(tc) > 0 {
		t.Fatalf("a new link has %v, known: %t", tc, tc != nil)
	}
	if err := (kit.Links{}).AddQdisc(g.pod, "net1", "clsact"); err != nil {
		t.Skipf("needs traffic control: %v", err)
	}
	if tc := see(); !slices.Equal(tc, []string{"clsact"}) {
		t.Errorf("it has %v, want clsact", tc)
	}
	kit.Must(t, kit.Links{}.DeleteQdisc(g.pod, "net1", "clsact"))
	if tc := see(); len(tc) > 0 {
		t.Errorf("it has %v after deletion", tc)
	}
	d, err := c.byName("net1", false)
	kit.Must(t, err)
	g.batch("link del net1\n")
	if tc := c.trafficControl(d, true); tc != nil {
		t.Errorf("a link that is gone has %v", tc)
	}
}
