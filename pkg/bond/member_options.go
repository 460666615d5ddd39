package bond

// MemberOptions are the bonding driver's settings of one member (IFLA_BOND_SLAVE_*, linux/if_link.h). The kernel drops
// them when the member leaves its bond. A nil field is not requested, not changed, or not reported by this kernel.
type MemberOptions struct {
	// QueueID is the bond's transmit queue that uses only this member; 0 for none.
	QueueID *uint16 `json:"queueId,omitempty"`
	// Prio ranks the members in modes with an active member (Linux 6.0); 0 by default.
	Prio *int32 `json:"prio,omitempty"`
	// ActorPortPrio is the LACP priority of the member's port in mode 802.3ad (Linux 6.18); 255 by default.
	ActorPortPrio *uint16 `json:"actorPortPrio,omitempty"`
}

// DefaultActorPortPrio is the LACP priority of a port that was just enslaved (ad_initialize_port).
const DefaultActorPortPrio = 255

// IsEmpty reports whether no option is set.
func (o MemberOptions) IsEmpty() bool { return o == MemberOptions{} }
