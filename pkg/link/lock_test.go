package link

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestKeyedMutex: a change that has just begun is waited for, a slow one is not, and neither is one of another key.
func TestKeyedMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m keyedMutex[string]
		unlock, err := m.lock(t.Context(), "pf0")
		kit.Must(t, err)
		other, err := m.lock(t.Context(), "pf1")
		if err != nil {
			t.Fatalf("another key's lock: %v", err)
		}
		other()
		time.AfterFunc(maxHold/2, unlock)
		began := time.Now()
		if unlock, err = m.lock(t.Context(), "pf0"); err != nil || time.Since(began) != maxHold/2 {
			t.Fatalf("a lock that was held for a moment: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, err = m.lock(t.Context(), "pf0"); !errors.Is(err, bond.ErrInUse) || !errors.Is(err, bond.ErrBusy) || time.Since(began) != maxHold {
			t.Errorf("a lock that is held for long: %v after %v, want ErrInUse, which is ErrBusy", err, time.Since(began))
		}
		if _, err = m.lock(t.Context(), "pf0"); !errors.Is(err, bond.ErrInUse) || time.Since(began) != maxHold {
			t.Errorf("again: %v after %v, want no wait", err, time.Since(began))
		}
		unlock()
		unlock, err = m.lock(t.Context(), "pf0")
		kit.Must(t, err)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = m.lock(ended, "pf0"); !errors.Is(err, bond.ErrInUse) {
			t.Errorf("in a call that has ended: %v", err)
		}
		unlock()
	})
}
