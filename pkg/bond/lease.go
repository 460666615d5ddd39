package bond

import (
	"encoding/json"
	"time"
)

// LeaseState is what is known about a DHCP lease.
type LeaseState string

// The states of a lease.
const (
	// LeaseUnconfirmed: the DHCP daemon may have given up the lease while the bond was lost. The addresses are not
	// added before the daemon has confirmed it.
	LeaseUnconfirmed LeaseState = "unconfirmed"
	// LeaseConfirmed: the daemon maintains the lease, and the bond is not restored yet.
	LeaseConfirmed LeaseState = "confirmed"
	// LeaseLost: the lease could not be acquired again. The bond must not have its addresses.
	LeaseLost LeaseState = "lost"
)

// Lease is the state of the lease of a bond's addresses after the bond was lost.
type Lease struct {
	State LeaseState `json:"state"`
	// Reason is why the lease is lost.
	Reason string `json:"reason,omitempty"`
	// Attempts is the number of failed attempts; Next is the time of the next one.
	Attempts int       `json:"attempts,omitempty"`
	Next     time.Time `json:"next,omitzero"`
}

// leasingPlugin is the IPAM plugin whose daemon searches for the link by its name at every renewal, and gives up the
// lease if the link is missing.
const leasingPlugin = "dhcp"

// Leased reports whether the addresses are DHCP leases, which end unless a daemon renews them.
func (r *Record) Leased() bool { return r.IPAMPlugin() == leasingPlugin }

// IPAMPlugin is the name of the IPAM plugin; empty if there is none.
func (r *Record) IPAMPlugin() string {
	var config struct {
		IPAM struct {
			Type string `json:"type"`
		} `json:"ipam"`
	}
	if json.Unmarshal(r.CNI.Config, &config) != nil {
		return ""
	}
	return config.IPAM.Type
}

// WithoutLease reports whether the bond must not be given its addresses now.
func (r *Record) WithoutLease() bool {
	return r.Lease != nil && r.Lease.State != LeaseConfirmed
}
