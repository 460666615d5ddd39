package bond

import (
	"fmt"
	"slices"
	"strconv"
)

// Validate checks that each value is canonical, that the kernel accepts the option in the
// requested mode, and that no option excludes another.
func (o Options) Validate() error {
	mode := o.Mode()
	for _, name := range o.sortedNames() {
		d := LookupOption(name)
		if d == nil {
			return fmt.Errorf("%.64q: no such bonding option", name)
		}
		canonical, err := d.Parse(o[name])
		if err != nil {
			return err
		}
		if canonical != o[name] {
			return fmt.Errorf("%s: %.64q is not canonical; want %.64q", name, o[name], canonical)
		}
		if !d.ValidIn(mode) {
			return fmt.Errorf("%s: not an option of mode %s; the kernel accepts it in %s", name, mode, modeList(d.Modes))
		}
	}
	return o.validateMonitors()
}

// validateMonitors: a bond has one monitor. The kernel silently disables the first one
// when the second is set (bond_option_arp_interval_set).
func (o Options) validateMonitors() error {
	mii, arp := o.number(OptMiimon) > 0, o.number(OptArpInterval) > 0
	if mii && arp {
		return fmt.Errorf("%s: %s excludes %s: %s; a bond has one monitor, set one of them to 0", OptArpInterval, o[OptArpInterval], OptMiimon, o[OptMiimon])
	}
	if arp && o[OptArpIPTargets] == "" && o[OptNsIP6Targets] == "" {
		return fmt.Errorf("%s: %s without a target; set %s or %s", OptArpInterval, o[OptArpInterval], OptArpIPTargets, OptNsIP6Targets)
	}
	for _, name := range []Option{OptUpdelay, OptDowndelay, OptPeerNotifyDelay} {
		if o.number(name) > 0 && !mii {
			return fmt.Errorf("%s: %s needs %s, of which it is a multiple", name, o[name], OptMiimon)
		}
	}
	if v := o[OptArpValidate]; v != "" && v != "none" && !arp {
		return fmt.Errorf("%s: %s needs %s", OptArpValidate, v, OptArpInterval)
	}
	return nil
}

// Warnings returns what the kernel accepts but what has not the expected effect, one
// sentence each, in the order of OptionDefs.
func (o Options) Warnings() []string {
	var w []string
	mode := o.Mode()
	for _, name := range o.Names() {
		d := LookupOption(name)
		if len(d.EffectiveModes) > 0 && !slices.Contains(d.EffectiveModes, mode) && o[name] != d.Default {
			w = append(w, fmt.Sprintf("%s: %s has no effect in mode %s; it has one in %s", name, o[name], mode, modeList(d.EffectiveModes)))
		}
	}
	mii := o.number(OptMiimon)
	for _, name := range []Option{OptUpdelay, OptDowndelay, OptPeerNotifyDelay} {
		if v := o.number(name); v > 0 && mii > 0 && v%mii != 0 {
			w = append(w, fmt.Sprintf("%s: %d is not a multiple of %s %d; the kernel rounds it to %d", name, v, OptMiimon, mii, v/mii*mii))
		}
	}
	if v := o[OptArpValidate]; mode == ModeActiveBackup && o.number(OptArpInterval) > 0 && o[OptArpAllTargets] == "all" && (v == "" || v == "none" || v == "filter") {
		// The kernel notes which target has answered only on members that it validates (slave_last_rx, bond_arp_rcv).
		w = append(w, fmt.Sprintf("%s: all needs %s all: without validation no answer is counted, and no member is ever up", OptArpAllTargets, OptArpValidate))
	}
	if mii == 0 && o.number(OptArpInterval) == 0 {
		w = append(w, fmt.Sprintf("%s and %s are 0: the failure of a member is not detected", OptMiimon, OptArpInterval))
	}
	return w
}

// Effective returns what the kernel reports once it has accepted o: it rounds the delays to
// multiples of miimon.
func (o Options) Effective() Options {
	e := o.Clone()
	if mii := o.number(OptMiimon); mii > 0 {
		for _, name := range []Option{OptUpdelay, OptDowndelay, OptPeerNotifyDelay} {
			if v := o.number(name); v%mii != 0 {
				e[name] = strconv.FormatUint(v/mii*mii, 10)
			}
		}
	}
	return e
}

// number returns the value of a numeric option; 0 if it is not set.
func (o Options) number(name Option) uint64 {
	n, err := strconv.ParseUint(o[name], 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// sortedNames returns all names, the unknown ones first, so that the same wrong options always
// result in the same error.
func (o Options) sortedNames() []Option {
	var unknown []Option
	for name := range o {
		if LookupOption(name) == nil {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return append(unknown, o.Names()...)
}
