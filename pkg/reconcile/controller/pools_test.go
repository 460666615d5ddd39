package controller_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// TestHangingIPAMPluginDelaysNoOther: a plugin that hangs in the releases of many bonds does not delay the releases of
// another plugin, or leases. It does not delay the first release of a bond of the same plugin either, if the hanging
// releases have failed before.
func TestHangingIPAMPluginDelaysNoOther(t *testing.T) {
	const hanging = 20
	for _, tt := range []struct {
		name     string
		attempts int // of the bonds that hang
		plugin   string
		lease    bool
	}{
		{"another plugin", 1, "quick", false},
		{"the same plugin, which failed before", 3, "hangs", false},
		{"a lease", 1, "dhcp", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, last := time.Now(), key(hanging)
				var done time.Time
				tombstone := func(k bond.Key, plugin string, attempts int) reconcile.Outcome {
					config := fmt.Sprintf(`{"ipam":{"type":%q}}`, plugin)
					return reconcile.Outcome{Record: &bond.Record{
						Key: k, Phase: bond.PhaseDeleting, Releases: attempts, Updated: start.Add(-time.Hour), CNI: bond.CNI{Config: []byte(config)},
					}}
				}
				e := &engine{
					converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
						switch {
						case k != last:
							return tombstone(k, "hangs", tt.attempts), nil
						case tt.lease:
							out := healthy(k)
							out.LeaseDue = n == 1
							return out, nil
						}
						return tombstone(k, tt.plugin, 1), nil
					},
					release: func(ctx context.Context, k bond.Key) error {
						if k == last {
							done = time.Now()
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					},
					confirm: func(context.Context, bond.Key) error { done = time.Now(); return nil },
				}
				runFed(t, e, controller.Config{}, time.Minute, nothing, func(l *controller.Controller) {
					for i := range hanging {
						l.Enqueue(key(i), "test")
					}
					synctest.Wait()
					l.Enqueue(last, "test")
				})
				if took := done.Sub(start); done.IsZero() || took > time.Second {
					t.Errorf("done after %s, want at once", took)
				}
				if len(e.released) > 9 {
					t.Errorf("%d releases are under way at once", len(e.released))
				}
			})
		})
	}
}

// TestReleaseDoesNotWaitForLeases: the release of a bond whose lease was to be confirmed, and that waits because all
// attempts that may run hang, begins at once.
func TestReleaseDoesNotWaitForLeases(t *testing.T) {
	const hanging = 20
	synctest.Test(t, func(t *testing.T) {
		start, last := time.Now(), key(hanging)
		var done time.Time
		e := &engine{
			converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.LeaseDue = n == 1 || k != last
				if k == last && n > 1 { // DEL, a while ago
					out.Record.Phase, out.Record.Updated, out.LeaseDue = bond.PhaseDeleting, start.Add(-time.Hour), false
				}
				return out, nil
			},
			release: func(context.Context, bond.Key) error { done = time.Now(); return nil },
			confirm: func(ctx context.Context, _ bond.Key) error { <-ctx.Done(); return ctx.Err() },
		}
		runFed(t, e, controller.Config{}, time.Minute, nothing, func(l *controller.Controller) {
			for i := range hanging + 1 {
				l.Enqueue(key(i), "test")
				synctest.Wait()
			}
			l.Enqueue(last, "test")
		})
		if took := done.Sub(start); done.IsZero() || took > time.Second {
			t.Errorf("released after %s, want at once", took)
		}
	})
}
