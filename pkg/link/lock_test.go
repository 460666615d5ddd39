package link

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

func TestKeyedMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m keyedMutex[string]
		unlock, err := m.lock(t.Context(), "pf0")
		if err != nil {
			t.Fatal(err)
		}
		other, err := m.lock(t.Context(), "pf1")
		if err != nil {
			t.Fatalf("another key's lock: %v", err)
		}
		other()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.lock(ctx, "pf0"); !errors.Is(err, bond.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("held lock: %v, want ErrBusy at the deadline", err)
		}
		unlock()
		n := 0
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				unlock, err := m.lock(t.Context(), "pf0")
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				n++
			})
		}
		wg.Wait()
		if n != 50 {
			t.Errorf("%d of 50 got the lock", n)
		}
	})
}
