package linktest

import (
	"errors"
	"slices"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var optionCases = []contractCase{
	{"every option has the values of the table", bonding_, optionValues},
	{"every option is taken when the table says so", bonding_, optionWhen},
	{"every option is taken in the modes of the table", bonding_, optionModes},
	{"all options are reported", bonding_, optionsReported},
	{"an option or value that the kernel does not have is rejected", bonding_, optionUnknown},
	{"delays need miimon and are rounded to it", bonding_, optionDelays},
	{"one monitor excludes the other", bonding_, optionMonitors},
	{"the primary is set and cleared", bonding_, optionPrimary},
	{"the active member is set as an option", bonding_, optionActive},
	{"a bond that is not as asked is not kept", bonding_, optionsMismatch},
	{"a rejected option does not prevent others from being set", bonding_, optionRejected},
}

// beside are the options that are required to set an option: its mode, and its dependencies.
func beside(d *bond.OptionDef) bond.Options {
	o := bond.Options{bond.OptMode: "active-backup"}
	if len(d.Modes) > 0 && !d.ValidIn(bond.ModeActiveBackup) {
		o[bond.OptMode] = d.Modes[0].String()
	}
	switch d.Name {
	case bond.OptUpdelay, bond.OptDowndelay, bond.OptPeerNotifyDelay:
		o[bond.OptMiimon] = "50"
	case bond.OptMode:
		delete(o, bond.OptMode)
	}
	return o
}

// since reports whether the kernel is of a version such as "6.18" or newer.
func (s *fixture) since(version string) bool { return bond.KernelAtLeast(s.env.Release, version) }

// options are those that the kernel has.
func (s *fixture) options() []bond.OptionDef {
	return slices.DeleteFunc(slices.Clone(bond.OptionDefs()), func(d bond.OptionDef) bool { return !s.has(&d) })
}

// hasItsOptions: a kernel has the options of its version, and perhaps newer ones.
func (s *fixture) hasItsOptions() {
	for _, d := range bond.OptionDefs() {
		if s.since(d.Since) && !s.has(&d) {
			s.Errorf("%s: not reported by %s", d.Name, s.env.Release)
		}
	}
}

// has reports whether the kernel has an option. Empty lists and links are not reported. Without the first case (-run)
// the version decides.
func (s *fixture) has(d *bond.OptionDef) bool {
	if s.env.reported == nil || d.Kind == bond.KindLink || isList(d) {
		return s.since(d.Since)
	}
	_, reported := s.env.reported[d.Name]
	return reported
}

// samples are values to try: all names of an enumeration that the kernel accepts, the bounds of a number.
func (s *fixture) samples(d *bond.OptionDef) []string {
	switch d.Kind {
	case bond.KindEnum8, bond.KindEnum32:
		return slices.DeleteFunc(slices.Clone(d.Values), func(v string) bool { return v == "" || !KernelAccepts(s.env.Release, d.Name, v) })
	case bond.KindIPv4s:
		return []string{"192.0.2.1", "192.0.2.1,192.0.2.2"}
	case bond.KindIPv6s:
		return []string{"2001:db8::1", "2001:db8::1,2001:db8::2"}
	case bond.KindMAC:
		return []string{string(otherMAC(5))}
	case bond.KindLink:
		return nil
	}
	if beside(d)[bond.OptMiimon] != "" {
		return []string{"0", "50", "300"} // multiples of miimon
	}
	return []string{
		strconv.FormatUint(uint64(d.Min), 10), strconv.FormatUint(uint64(d.Min+1), 10), strconv.FormatUint(uint64(d.Max), 10),
	}
}

// with returns o with one more option.
func with(o bond.Options, name bond.Option, value string) bond.Options {
	o = o.Clone()
	o[name] = value
	return o
}

// try makes a bond, calls f and deletes the bond.
func (s *fixture) try(o bond.Options, f func()) {
	s.Helper()
	s.create(o)
	f()
	s.apply(plan.DeleteBond{Bond: s.bond()})
}

func (s *fixture) wantOption(name bond.Option, want string) {
	s.Helper()
	if got := s.see().Bond.Options[name]; got != want {
		s.Errorf("%s is reported as %q, want %q", name, got, want)
	}
}

// optionValues creates a bond with the first value and then sets the others.
func optionValues(s *fixture) {
	for _, d := range s.options() {
		values := s.samples(&d)
		if len(values) == 0 {
			continue
		}
		s.try(with(beside(&d), d.Name, values[0]), func() {
			s.wantOption(d.Name, values[0])
			for _, value := range values[1:] {
				s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{d.Name: value}})
				s.wantOption(d.Name, value)
			}
		})
	}
}

// different is a value that is not the kernel's default and does not disturb the test.
func (s *fixture) different(d *bond.OptionDef) string {
	v := s.samples(d)
	if d.Name == bond.OptMode {
		return "balance-xor"
	}
	return v[min(1, len(v)-1)]
}

// optionWhen sets all options of a mode on one bond, in the table's order, in each state of the bond.
func optionWhen(s *fixture) {
	for _, mode := range []string{"", "balance-rr", "active-backup", "802.3ad", "balance-tlb"} {
		for _, state := range []bond.Changeable{bond.Live, bond.BondDown, bond.NoMembers} {
			o := bond.Options{bond.OptMiimon: "50"}
			if mode != "" { // the mode itself is tried on a bond with the kernel's default
				o[bond.OptMode] = mode
			}
			s.try(o, func() {
				switch state {
				case bond.BondDown:
					s.apply(plan.SetUp{Link: s.bond()})
				case bond.NoMembers:
					s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
				}
				s.setEach(mode, state)
			})
		}
	}
}

// setEach sets the options of a mode, which must be rejected in states in which they cannot be changed.
func (s *fixture) setEach(mode string, state bond.Changeable) {
	s.Helper()
	for _, d := range s.options() {
		if d.Kind == bond.KindLink || beside(&d)[bond.OptMode] != mode {
			continue
		}
		value := s.different(&d)
		a := plan.SetOptions{Bond: s.bond(), Options: bond.Options{d.Name: value}}
		if d.Changeable&state != 0 {
			s.rejected(a, nil)
			continue
		}
		s.apply(a)
		s.wantOption(d.Name, value)
	}
}

// optionModes sets every option in every mode.
func optionModes(s *fixture) {
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		s.try(bond.Options{bond.OptMode: mode.String(), bond.OptMiimon: "50"}, func() {
			for _, d := range s.options() {
				if d.Kind == bond.KindLink || d.Name == bond.OptMode {
					continue
				}
				a := plan.SetOptions{Bond: s.bond(), Options: bond.Options{d.Name: s.different(&d)}}
				err := s.w.Apply(s.Context(), s.r, a)
				if want := d.ValidIn(mode) || takenInAnyMode(d.Name); (err == nil) != want {
					s.Errorf("%s in mode %s: the table says %t, the kernel %v", d.Name, mode, want, err)
				}
			}
		})
	}
}

func optionsReported(s *fixture) {
	inMode := map[bond.Option]bool{bond.OptAdActorSysPrio: true, bond.OptAdUserPortKey: true, bond.OptAdActorSystem: true}
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		s.try(bond.Options{bond.OptMode: mode.String()}, func() {
			have := s.see().Bond.Options
			for _, d := range bond.OptionDefs() {
				want := d.Kind != bond.KindLink && (!inMode[d.Name] || mode == bond.Mode8023AD) && (s.has(&d) || isList(&d))
				if value, reported := have[d.Name]; reported != want {
					s.Errorf("%s in mode %s: reported %t (%q), want %t", d.Name, mode, reported, value, want)
				}
			}
			for name, want := range kernelDefaults() {
				if got, reported := have[name]; reported && want != got && name != bond.OptMode && name != bond.OptMiimon {
					s.Errorf("%s in mode %s is %q by default, the table says %q", name, mode, got, want)
				}
			}
		})
	}
}

// isList reports whether a list of targets, which is empty if the kernel does not report it.
func isList(d *bond.OptionDef) bool { return d.Kind == bond.KindIPv4s || d.Kind == bond.KindIPv6s }

// optionUnknown: kernels ignore unknown options without an error, and the bond must not be kept.
func optionUnknown(s *fixture) {
	for _, d := range bond.OptionDefs() {
		var class error
		if !s.has(&d) {
			class = bond.ErrUnsupported
		}
		for _, value := range d.Values {
			if value == "" || class == nil && KernelAccepts(s.env.Release, d.Name, value) {
				continue
			}
			s.rejected(plan.CreateBond{Name: "bond0", Options: with(beside(&d), d.Name, value)}, class)
			if b := s.see().Bond; b != nil {
				s.Errorf("bond with %s=%s was kept: %+v", d.Name, value, b)
			}
		}
	}
}

func optionDelays(s *fixture) {
	s.rejected(plan.CreateBond{Name: "bond0", Options: bond.Options{bond.OptMode: "active-backup", bond.OptUpdelay: "100"}}, nil)
	s.try(bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptUpdelay: "250", bond.OptDowndelay: "200"}, func() {
		s.wantOption(bond.OptUpdelay, "200")
		s.wantOption(bond.OptDowndelay, "200")
		// They are multiples of miimon and change with it.
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptMiimon: "50"}})
		s.wantOption(bond.OptUpdelay, "100")
		s.wantOption(bond.OptDowndelay, "100")
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptMiimon: "100", bond.OptUpdelay: "200"}})
		s.wantOption(bond.OptUpdelay, "200")
	})
}

func optionMonitors(s *fixture) {
	arp := bond.Options{bond.OptArpInterval: "200", bond.OptArpIPTargets: "192.0.2.1"}
	s.try(with(arp, bond.OptMode, "active-backup"), func() {
		s.wantOption(bond.OptMiimon, "0")
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptMiimon: "50"}})
		s.wantOption(bond.OptMiimon, "50")
		s.wantOption(bond.OptArpInterval, "0")
		s.wantOption(bond.OptArpIPTargets, "192.0.2.1")
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptArpInterval: "300"}})
		s.wantOption(bond.OptMiimon, "0")
		s.wantOption(bond.OptArpInterval, "300")
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptArpIPTargets: "192.0.2.7,192.0.2.8"}})
		s.wantOption(bond.OptArpIPTargets, "192.0.2.7,192.0.2.8")
	})
	for _, mode := range []string{"802.3ad", "balance-tlb", "balance-alb"} {
		s.try(bond.Options{bond.OptMode: mode}, func() { s.wantOption(bond.OptMiimon, "100") })
	}
}

func optionPrimary(s *fixture) {
	s.bonded(activeBackup(string(bond.OptPrimaryReselect), "always"))
	s.activeIs(0)
	s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptPrimary: "net2"}})
	s.wantOption(bond.OptPrimary, "net2")
	s.activeIs(1)
	s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptPrimary: ""}})
	s.wantOption(bond.OptPrimary, "")
	s.activeStays(0) // without a primary all members are equal
	s.rejected(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptPrimary: "net9"}}, bond.ErrGone)
}

func optionActive(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptActiveSlave: "net2"}})
	s.wantOption(bond.OptActiveSlave, "net2")
	s.activeStays(1)
}

func optionRejected(s *fixture) {
	s.bonded(activeBackup())
	a := plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptMiimon: "70", bond.OptFailOverMac: "none", bond.OptResendIgmp: "3"}}
	if err := s.w.Apply(s.Context(), s.r, a); err == nil || errors.Is(err, bond.ErrStale) || errors.Is(err, bond.ErrGone) {
		s.Errorf("%q: %v", a, err)
	}
	s.wantOption(bond.OptMiimon, "70")
	s.wantOption(bond.OptFailOverMac, "active")
	s.wantOption(bond.OptResendIgmp, "3")
}

// optionsMismatch: a bond has one monitor, and rounded values count as requested.
func optionsMismatch(s *fixture) {
	both := bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptArpInterval: "200", bond.OptArpIPTargets: "192.0.2.1"}
	s.rejected(plan.CreateBond{Name: "bond0", Options: both}, nil)
	s.try(bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptUpdelay: "150"}, func() { s.wantOption(bond.OptUpdelay, "100") })
}
