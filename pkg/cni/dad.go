package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

const (
	// dadTimeout is the time that the reference plugins wait for duplicate address detection. ADD waits as long for a
	// carrier, with which the detection begins, so the wait takes twice as long at most.
	dadTimeout = 5 * time.Second
	// dadPoll is the interval of checks: no event reports that an address is no longer tentative.
	dadPoll = 50 * time.Millisecond
)

// awaitDAD waits for duplicate address detection of all IPv6 addresses. Like the reference plugins it does so only if
// the IPAM result has an IPv6 gateway, because then routes depend on the addresses. A bond without carrier cannot
// detect anything. Its addresses stay tentative until the carrier appears, and ADD succeeds.
func (s *session) awaitDAD(ctx context.Context, rec *bond.Record, out *reconcile.Outcome) error {
	if rec.Spec.NoDAD || !slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return a.Gateway.Is6() }) {
		return nil
	}
	began := time.Now()
	detecting := began // since when the bond has its carrier
	for {
		pending, err := undetected(rec, out.Observed.Bond)
		if err != nil || pending == "" {
			return err
		}
		now := time.Now()
		if !out.Observed.Bond.Carrier {
			detecting = now
		}
		switch {
		case now.Sub(began) > dadTimeout && !out.Observed.Bond.Carrier:
			return nil
		case now.Sub(detecting) > dadTimeout:
			return fmt.Errorf("bond %s of pod %s: %s: duplicate address detection has not ended after %s although the bond has carrier", rec.BondName(), rec.Pod, pending, dadTimeout)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dadPoll):
		}
		switch next, err := s.engine.Inspect(ctx, rec.Key); {
		case err == nil:
			*out = next
		case !errors.Is(err, bond.ErrBusy): // then the pod changes its links faster than they can be read
			return err
		}
	}
}

// undetected describes the addresses on which the detection has not ended, or why that is not known; empty if it has
// ended on all. The error is about a duplicate.
func undetected(rec *bond.Record, b *bond.ObservedBond) (string, error) {
	if b == nil {
		return "", fmt.Errorf("bond %s of pod %s is gone", rec.BondName(), rec.Pod)
	}
	own := func(list []netip.Prefix) []netip.Prefix {
		return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool {
			return !slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return a.Prefix == p })
		})
	}
	switch duplicates, tentative := own(b.Duplicates), own(b.Tentative); {
	case len(duplicates) > 0:
		return "", fmt.Errorf("bond %s of pod %s: another host has %s (duplicate address detection failed)", rec.BondName(), rec.Pod, joinPrefixes(duplicates))
	case len(tentative) > 0:
		return joinPrefixes(tentative), nil
	case b.Unread != "":
		return b.Unread, nil // then it has no addresses, which proves nothing
	}
	for _, a := range rec.Addresses {
		// With accept_dad 2 the kernel removes all IPv6 addresses after a duplicate of the link-local one.
		if a.Prefix.Addr().Is6() && !slices.Contains(b.Addresses, a.Prefix) {
			return a.Prefix.String() + " was removed", nil
		}
	}
	return "", nil
}
