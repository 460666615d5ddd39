package history

import "time"

// Timing has the waits of repairs.
type Timing struct {
	// MinBackoff is the wait after a first failed action. It doubles with each further one up to MaxBackoff.
	// Default 100 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// FlapWindow: a member lost again within this time of its return, twice in a row, is held back for a growing time.
	// sriov-network-operator rebinds a VF's driver if it did not see the VF in the host for 10 s, and again after
	// another 10 s; it sees a VF that is held back. Default 30 s.
	FlapWindow time.Duration
	// NoCarrierWait is how long a member may be without carrier while its PF has one, before it is bounced.
	// Default 15 s.
	NoCarrierWait time.Duration
}

// WithDefaults replaces zero fields.
func (t Timing) WithDefaults() Timing {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&t.MinBackoff, 100*time.Millisecond)
	set(&t.MaxBackoff, 30*time.Second)
	set(&t.FlapWindow, 30*time.Second)
	set(&t.NoCarrierWait, 15*time.Second)
	return t
}

// backoff returns the wait after the nth failure in a row, n from 1.
func (t Timing) backoff(n int) time.Duration {
	d := t.MinBackoff
	for ; n > 1 && d < t.MaxBackoff; n-- {
		d *= 2
	}
	return min(d, t.MaxBackoff)
}
