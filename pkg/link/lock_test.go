package link

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestKeyedMutex(t *testing.T) {
	var m keyedMutex[string]
	unlock, err := m.tryLock("pf0")
	kit.Must(t, err)
	other, err := m.tryLock("pf1")
	if err != nil {
		t.Fatalf("another key's lock: %v", err)
	}
	other()
	if _, err := m.tryLock("pf0"); !errors.Is(err, bond.ErrInUse) || !errors.Is(err, bond.ErrBusy) {
		t.Errorf("held lock: %v, want ErrInUse, which is ErrBusy", err)
	}
	unlock()
	if _, err := m.tryLock("pf0"); err != nil {
		t.Errorf("a lock that is free again: %v", err)
	}
}
