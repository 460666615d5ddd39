package link

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestOnePFQuery: the bonds of a resync share one query of a PF, also if they are reconciled at once.
func TestOnePFQuery(t *testing.T) {
	const pf, vfs = bond.PCIAddress("0000:01:00.0"), 64
	queries, trust := 0, false
	read := func() (map[int]bond.VFSettings, error) {
		queries++
		all := map[int]bond.VFSettings{}
		for n := range vfs {
			all[n] = bond.VFSettings{Trust: new(trust)}
		}
		return all, nil
	}
	var tables vfTables
	resync := func(since time.Time) {
		var wait sync.WaitGroup
		for n := range vfs {
			wait.Go(func() {
				if s, err := tables.of(pf).get(n, since, read); err != nil || s == nil || *s.Trust != trust {
					t.Errorf("VF %d: %v, %v", n, s, err)
				}
			})
		}
		wait.Wait()
	}
	began := time.Now()
	resync(began)
	resync(began)
	if queries != 1 {
		t.Fatalf("%d queries of %d VFs, want 1", queries, vfs)
	}
	if s, err := tables.of(pf).get(vfs, began, read); s != nil || !errors.Is(err, errIncompleteVFList) {
		t.Errorf("a VF that the PF does not report: %v, %v", s, err)
	}
	trust = true
	resync(time.Now())
	if queries != 2 {
		t.Errorf("%d queries, want 2: the result was too old", queries)
	}
	trust = false
	tables.forget(pf)
	resync(began)
	if queries != 3 {
		t.Errorf("%d queries, want 3: the PF was changed", queries)
	}
	_, err := tables.of("0000:02:00.0").get(0, began, func() (map[int]bond.VFSettings, error) { return nil, errors.New("away") })
	if err == nil {
		t.Error("an unreadable PF has settings")
	}
	_, err = tables.of("0000:02:00.0").get(0, began, read)
	kit.Must(t, err)
}

// TestIncompleteVFList: a list that is longer than the length of a netlink attribute can say is reported. Other errors
// of a PF are not: it may be away.
func TestIncompleteVFList(t *testing.T) {
	cut := &device{Link: bond.Link{Name: "pf"}, vfList: []byte{200, 0, 1, 0, 1, 2, 3, 4}}
	_, err := cut.allVFSettings()
	if !errors.Is(incompleteVFList(err), errIncompleteVFList) {
		t.Errorf("an attribute that is longer than the message: %v", err)
	}
	for err, want := range map[error]bool{unix.EMSGSIZE: true, unix.ENODEV: false, bond.ErrGone: false} {
		if got := errors.Is(incompleteVFList(err), errIncompleteVFList); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
	if incompleteVFList(nil) != nil {
		t.Error("an error out of nothing")
	}
}
