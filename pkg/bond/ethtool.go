package bond

import (
	"maps"
	"slices"
)

// Ethtool are settings of a link that ethtool(8) changes, by name, with ethtool's words for names and values: "ring rx"
// is "512", "feature tx-nocache-copy" is "off". Those that the driver does not support are absent.
type Ethtool map[string]string

// MaxEthtool bounds the ethtool settings of a link. The kernel has some 60 features, a driver at most 32 private flags.
const MaxEthtool = 256

// EachEthtool calls read for each link whose ethtool settings are read now, with the settings that were observed and
// those that are recorded, which are nil if there are none. Each takes several requests, so they have to wait until no
// member is to be attached. A driver may report others while the link is down.
func (o *Observed) EachEthtool(r *Record, read func(l *Link, observed, recorded *LinkSettings)) {
	if !o.ReadsOnTop(r) {
		return
	}
	if b := o.Bond; b.Up {
		var recorded *LinkSettings
		if r.Learned != nil {
			recorded = &r.Learned.Settings
		}
		read(&b.Link, &b.Settings, recorded)
	}
	for i := range o.Members {
		if m := &o.Members[i]; o.Enslaved(i) && m.Link.Up {
			read(&m.Link, &m.Settings, r.Members[i].Settings)
		}
	}
}

// EthtoolMissing returns those ethtool settings that an earlier link had and that this one does not have, with the
// values of the earlier one. A setting that was changed since is not missing: its writer has decided. One that the
// driver does not support any more cannot be set. now may have been left unread.
func (s LinkSettings) EthtoolMissing(now LinkSettings) Ethtool {
	if now.Ethtool == nil {
		return maps.Clone(s.MissingEthtool)
	}
	lost, last := s.MissingEthtool, s.Ethtool
	if replaced := s.EthtoolOf != now.EthtoolOf; replaced {
		lost = Ethtool{}
		maps.Copy(lost, s.Ethtool)
		maps.Copy(lost, s.MissingEthtool)
		last = nil
	}
	var missing Ethtool
	for name, value := range lost {
		have, supported := now.Ethtool[name]
		before, known := last[name]
		if !supported || have == value || known && have != before {
			continue
		}
		if missing == nil {
			missing = Ethtool{}
		}
		missing[name] = value
	}
	return missing
}

// learnEthtool sets the ethtool settings of now. What was not read is taken from s, if it is of the same link.
func (s LinkSettings) learnEthtool(now *LinkSettings) {
	now.MissingEthtool = s.EthtoolMissing(*now)
	switch {
	case now.Ethtool == nil:
		now.Ethtool, now.EthtoolOf = maps.Clone(s.Ethtool), s.EthtoolOf
	case s.EthtoolOf == now.EthtoolOf:
		for name, value := range s.Ethtool {
			if _, read := now.Ethtool[name]; !read {
				now.Ethtool[name] = value
			}
		}
	}
}

func (s LinkSettings) equalEthtool(o LinkSettings) bool {
	return maps.Equal(s.Ethtool, o.Ethtool) && s.EthtoolOf == o.EthtoolOf && maps.Equal(s.MissingEthtool, o.MissingEthtool)
}

// Without returns the settings that differ from o, and those that o lacks.
func (e Ethtool) Without(o Ethtool) Ethtool {
	out := maps.Clone(e)
	maps.DeleteFunc(out, func(name, value string) bool {
		other, found := o[name]
		return found && other == value
	})
	return out
}

// Strings lists the settings as ethtool(8) takes them, sorted: "ring rx 512".
func (e Ethtool) Strings() []string {
	all := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		all = append(all, name+" "+e[name])
	}
	return all
}
