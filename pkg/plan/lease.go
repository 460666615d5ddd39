package plan

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planLease removes addresses whose lease may not be maintained, before the bond is set up. The DHCP daemon sets the
// bond down, with its address, when a lease has expired.
func (b *builder) planLease() {
	if !b.rec.WithoutLease() {
		return
	}
	l := b.rec.Lease
	switch {
	case l.State == bond.LeaseUnconfirmed:
		b.reportWaiting(OnBond, LeaseUnconfirmed, "the bond gets its address when the DHCP daemon has confirmed the lease")
	case l.Attempts == 0:
		b.reportWaiting(OnBond, LeaseUnconfirmed, "the bond gets its address when the DHCP daemon has acquired the lease again: %s", l.Reason)
	default:
		b.report(OnBond, LeaseLost, "the bond has no address: %s", l.Reason)
	}
	for _, a := range b.rec.Addresses {
		if slices.Contains(b.obs.Bond.Addresses, a.Prefix) {
			b.add(DelAddress{MemberIndex: OnBond, Bond: b.bondRef(), Prefix: a.Prefix})
		}
	}
}
