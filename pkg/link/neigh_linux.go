package link

import (
	"cmp"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// observeNeigh reads the sysctls of the links' neighbour tables where they matter: after a loss, in set-up, and at the
// end of ADD.
func (c *conn) observeNeigh(r *bond.Record, o *bond.Observed) error {
	if r.Deleted() {
		return nil
	}
	all := r.InSetup() || r.Phase == bond.PhaseAdding && !o.LinksDiffer()
	requested := map[int]*bond.LinkSettings{}
	if all || r.Restoring {
		requested[o.Bond.Index] = &o.Bond.Settings
	}
	for i := range o.Members {
		if om := &o.Members[i]; om.Location == bond.InPod && (all || r.Members[i].Restoring) {
			requested[om.Link.Index] = &om.Settings
		}
	}
	if len(requested) == 0 {
		return nil
	}
	found, err := c.neighSysctls(func(index int) bool { return requested[index] != nil })
	for index, s := range requested {
		s.Neigh = append([]bond.Sysctl{}, found[index]...)
	}
	return err
}

// neighSysctls returns those sysctls of links' neighbour tables that differ from the defaults of new links
// (neigh_parms_alloc). There is no request for one link, but one dump has the tables of all links of the netns, and the
// defaults (neightbl_dump_info). A link of which a family is disabled has no table of it.
func (c *conn) neighSysctls(match func(index int) bool) (map[int][]bond.Sysctl, error) {
	var found map[int][]bond.Sysctl
	err := c.retryInterruptedDump(func() error {
		found = map[int][]bond.Sysctl{}
		usual := map[string]map[string]int64{} // by family
		req := nl.NewNetlinkRequest(unix.RTM_GETNEIGHTBL, unix.NLM_F_DUMP)
		req.AddRawData([]byte{unix.AF_UNSPEC, 0, 0, 0}) // struct ndtmsg
		return c.stream(req, unix.RTM_NEWNEIGHTBL, func(m []byte) error {
			index, family, values, malformed := neighTable(m, match)
			switch {
			case malformed != nil || values == nil:
			case index == 0: // it precedes the links of its family
				usual[family] = values
			default:
				found[index] = append(found[index], unusual(family, values, usual[family])...)
			}
			return malformed
		})
	})
	for _, all := range found {
		slices.SortFunc(all, compareSysctls)
	}
	return found, classify(err)
}

// Attributes of a neighbour table (linux/neighbour.h).
const (
	ndtaParms    = 6 // NDTA_PARMS
	ndtpaIfindex = 1 // NDTPA_IFINDEX
	ndtmsgLength = 4 // struct ndtmsg
)

// neighSysctl is a sysctl that an attribute of a table has. The attribute is in milliseconds where the sysctl is a time;
// one unit of the sysctl is that many.
type neighSysctl struct {
	name string
	unit int64
}

// neighParms are the attributes NDTPA_* that have a sysctl. Clock ticks of sysctls are 10 ms on every architecture
// (USER_HZ). base_reachable_time and retrans_time are left out: they show another one in other units.
var neighParms = map[uint16]neighSysctl{
	4: {"base_reachable_time_ms", 1}, 5: {"retrans_time_ms", 1}, 6: {"gc_stale_time", 1000}, 7: {"delay_first_probe_time", 1000},
	8: {"unres_qlen", 1}, 9: {"app_solicit", 1}, 10: {"ucast_solicit", 1}, 11: {"mcast_solicit", 1}, 12: {"anycast_delay", 10},
	13: {"proxy_delay", 10}, 14: {"proxy_qlen", 1}, 15: {"locktime", 10}, 16: {"unres_qlen_bytes", 1}, 17: {"mcast_resolicit", 1},
	19: {"interval_probe_time_ms", 1},
}

// neighTable decodes the parameters in one message of a dump: those of a link, or with index 0 the defaults. values is
// nil if the link does not match, or the table is of another protocol.
func neighTable(m []byte, match func(index int) bool) (index int, family string, values map[string]int64, err error) {
	if len(m) < ndtmsgLength {
		return 0, "", nil, errMalformed
	}
	families := map[byte]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6"}
	if family = families[m[0]]; family == "" {
		return 0, "", nil, nil
	}
	err = eachAttr(m[ndtmsgLength:], func(typ uint16, v []byte) error {
		if typ != ndtaParms {
			return nil
		}
		malformed := eachAttr(v, func(typ uint16, v []byte) error {
			if typ == ndtpaIfindex {
				index = int(number(v))
			}
			return nil
		})
		if malformed != nil || index != 0 && !match(index) {
			return malformed
		}
		values = make(map[string]int64, len(neighParms))
		return eachAttr(v, func(typ uint16, v []byte) error {
			if s, known := neighParms[typ]; known {
				values[s.name] = wide(v) / s.unit
			}
			return nil
		})
	})
	return index, family, values, err
}

// wide decodes an attribute of 8 bytes, or fewer.
func wide(v []byte) int64 {
	if len(v) == 8 {
		return int64(nl.NativeEndian().Uint64(v)) //nolint:gosec // milliseconds
	}
	return int64(number(v))
}

func unusual(family string, values, usual map[string]int64) (out []bond.Sysctl) {
	for name, value := range values {
		if d, known := usual[name]; known && d != value {
			out = append(out, bond.Sysctl{Family: family, Neigh: true, Name: name, Value: value})
		}
	}
	return out
}

func compareSysctls(a, b bond.Sysctl) int {
	return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Name, b.Name))
}
