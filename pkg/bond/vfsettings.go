package bond

import (
	"fmt"
	"strings"
)

// Values of VFSettings.LinkState (IFLA_VF_LINK_STATE_*): carrier whatever the PF has, and none.
const (
	LinkStateEnable  uint32 = 1
	LinkStateDisable uint32 = 2
)

// HasLinkState reports whether a link state is known and the given one.
func (s *VFSettings) HasLinkState(state uint32) bool {
	return s != nil && s.LinkState != nil && *s.LinkState == state
}

// Diff returns the settings of want that have does not have: those that must be written. A setting that is nil in want is
// never written, one that is nil in have only is always written.
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

// NotMet returns the settings of want for which have has another value. A setting that have lacks is not reported by the
// driver, so it is not known to differ.
func (want VFSettings) NotMet(have VFSettings) VFSettings {
	wrong := want.Diff(have).Only(have)
	if v := wrong.VLAN; v != nil && v.Proto == 0 && v.ID == have.VLAN.ID && v.QoS == have.VLAN.QoS {
		wrong.VLAN = nil
	}
	return wrong
}

// Only returns the settings that are set in other, too.
func (s VFSettings) Only(other VFSettings) VFSettings {
	return VFSettings{
		MAC:       ifSet(other.MAC, s.MAC),
		VLAN:      ifSet(other.VLAN, s.VLAN),
		Rate:      ifSet(other.Rate, s.Rate),
		SpoofChk:  ifSet(other.SpoofChk, s.SpoofChk),
		Trust:     ifSet(other.Trust, s.Trust),
		LinkState: ifSet(other.LinkState, s.LinkState),
	}
}

// Without returns the settings that are not set in other.
func (s VFSettings) Without(other VFSettings) VFSettings { return s.Diff(s.Only(other)) }

func ifSet[T any](condition, value *T) *T {
	if condition == nil {
		return nil
	}
	return value
}

func unlessSame[T comparable](want, have *T) *T {
	if want != nil && have != nil && *want == *have {
		return nil
	}
	return want
}

// Empty reports whether no setting is set.
func (s VFSettings) Empty() bool { return s == VFSettings{} }

// String lists the settings under the names of ip-link(8).
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
