package bond

import (
	"fmt"
	"strings"
)

// Diff is what of want is not so in have: the settings that must be written. What
// want leaves open and what have does not know differ like this: the first is never
// written, the second always.
func (want VFSettings) Diff(have VFSettings) VFSettings {
	return VFSettings{
		MAC:       unlessSame(want.MAC, have.MAC),
		VLAN:      unlessSame(want.VLAN, have.VLAN),
		Rate:      unlessSame(want.Rate, have.Rate),
		SpoofChk:  unlessSame(want.SpoofChk, have.SpoofChk),
		Trust:     unlessSame(want.Trust, have.Trust),
		LinkState: unlessSame(want.LinkState, have.LinkState),
	}
}

func unlessSame[T comparable](want, have *T) *T {
	if want != nil && have != nil && *want == *have {
		return nil
	}
	return want
}

// Empty reports whether no setting is named.
func (s VFSettings) Empty() bool { return s == VFSettings{} }

// String lists the settings that are named, as ip-link(8) calls them.
func (s VFSettings) String() string {
	var parts []string
	if s.MAC != nil {
		parts = append(parts, "mac "+string(*s.MAC))
	}
	if s.VLAN != nil {
		parts = append(parts, fmt.Sprintf("vlan %d qos %d", s.VLAN.ID, s.VLAN.QoS))
	}
	if s.Rate != nil {
		parts = append(parts, fmt.Sprintf("min_tx_rate %d max_tx_rate %d", s.Rate.Min, s.Rate.Max))
	}
	if s.SpoofChk != nil {
		parts = append(parts, fmt.Sprintf("spoofchk %t", *s.SpoofChk))
	}
	if s.Trust != nil {
		parts = append(parts, fmt.Sprintf("trust %t", *s.Trust))
	}
	if s.LinkState != nil {
		parts = append(parts, fmt.Sprintf("state %d", *s.LinkState))
	}
	return strings.Join(parts, ", ")
}
