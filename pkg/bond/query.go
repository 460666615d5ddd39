package bond

import "time"

// MemberQuery says which links are to become members of a bond.
type MemberQuery struct {
	// Key is the bond's: other plugins keep what they know of a link under its container ID.
	Key     Key
	Sandbox Sandbox
	// Names of the links, in the sandbox or (InHost) in the host's netns.
	Names  []string
	InHost bool
	// Wait is how long links that are not there may take to come; 0 is not at all.
	Wait time.Duration
}

// MemberResult is what a MemberQuery came to.
type MemberResult struct {
	// Links has an entry a name, in their order.
	Links []MemberLink
	// Warnings are what was odd and did not matter, one sentence each.
	Warnings []string
}

// MemberLink is one link that was looked for.
type MemberLink struct {
	// Member is its identity and what it has now. Of one that is missing it is what is known
	// from elsewhere, and at least the name.
	Member Member
	// Missing says why the link cannot be had now, and matches ErrGone; nil when it is there.
	Missing error
	// PF is what the PF of a VF says; nil for other links, and for a VF whose PF is out of sight.
	PF *ObservedPF
}

// Missing are the links that were not there, by index in Links.
func (f *MemberResult) Missing() []int {
	var missing []int
	for i := range f.Links {
		if f.Links[i].Missing != nil {
			missing = append(missing, i)
		}
	}
	return missing
}
