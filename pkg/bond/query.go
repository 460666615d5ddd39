package bond

import "time"

// MemberQuery names the links that are to become members of a bond.
type MemberQuery struct {
	// Key is the bond's. Other plugins name their files about a link by its container ID.
	Key     Key
	Sandbox Sandbox
	// Names of the links, in the sandbox or (InHost) in the host's netns.
	Names  []string
	InHost bool
	// Wait is the time in which missing links may appear; 0 for no wait.
	Wait time.Duration
}

// MemberResult is the result of a MemberQuery.
type MemberResult struct {
	// Links has one entry per name, in the same order.
	Links []MemberLink
	// Warnings are unexpected but harmless observations, one sentence each.
	Warnings []string
}

// MemberLink is the result for one link.
type MemberLink struct {
	// Member is the link's identity and current settings. If the link is missing, it is what other sources have, and at
	// least the name.
	Member Member
	// Missing is why the link cannot be used now, and matches ErrGone; nil if it exists.
	Missing error
	// PF is the state of a VF's PF; nil for other links, and for a VF whose PF is not visible.
	PF *ObservedPF
}

// Missing returns the indexes in Links of those that are missing.
func (f *MemberResult) Missing() []int {
	var missing []int
	for i := range f.Links {
		if f.Links[i].Missing != nil {
			missing = append(missing, i)
		}
	}
	return missing
}
