package cni

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

const (
	// dadTimeout is how long the reference plugins wait for duplicate address detection.
	dadTimeout = 5 * time.Second
	// dadPoll is how often it is looked at: no event tells that an address is no longer tentative.
	dadPoll = 50 * time.Millisecond
)

// awaitDAD waits, as the reference plugins do, until the kernel has found no duplicate of any IPv6 address; they wait only
// if IPAM names an IPv6 gateway, because routes depend on the addresses then. A bond without carrier cannot detect anything:
// its addresses stay tentative, the kernel detects when the carrier comes, and ADD succeeds.
func (s *session) awaitDAD(ctx context.Context, rec *bond.Record, out *reconcile.Outcome) error {
	if rec.Spec.NoDAD || !slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return a.Gateway.Is6() }) {
		return nil
	}
	deadline := time.Now().Add(dadTimeout)
	for {
		b := out.Observed.Bond
		if b == nil {
			return fmt.Errorf("bond %s of pod %s is gone", rec.BondName(), rec.Pod)
		}
		own := func(list []netip.Prefix) []netip.Prefix {
			return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool {
				return !slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return a.Prefix == p })
			})
		}
		switch duplicates, tentative := own(b.Duplicates), own(b.Tentative); {
		case len(duplicates) > 0:
			return fmt.Errorf("bond %s of pod %s: another host has %s (duplicate address detection failed)", rec.BondName(), rec.Pod, texts(duplicates))
		case len(tentative) == 0:
			return nil
		case time.Now().After(deadline) && b.Carrier:
			return fmt.Errorf("bond %s of pod %s: %s: duplicate address detection has not ended after %s though the bond carries", rec.BondName(), rec.Pod, texts(tentative), dadTimeout)
		case time.Now().After(deadline):
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dadPoll):
		}
		var err error
		if *out, err = s.engine.Inspect(ctx, rec.Key); err != nil {
			return err
		}
	}
}
