package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Attributes inside IFLA_AF_SPEC (linux/if_link.h).
const (
	iflaInetConf  = 1 // IFLA_INET_CONF
	iflaInet6Conf = 2 // IFLA_INET6_CONF
)

// linkSettings returns the settings in a link message. The sysctls are decoded only here: a dump has every link of
// the pod, and only the settings of the bond and its members are needed.
func (d *device) linkSettings() (bond.LinkSettings, error) {
	s := d.settings
	err := eachAttr(d.afSpec, func(family uint16, v []byte) error {
		switch family {
		case unix.AF_INET:
			return eachAttr(v, func(typ uint16, v []byte) error {
				if typ == iflaInetConf {
					s.IPv4 = numbers(v)
				}
				return nil
			})
		case unix.AF_INET6:
			return eachAttr(v, func(typ uint16, v []byte) error {
				if typ == iflaInet6Conf {
					s.IPv6 = numbers(v)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("sysctls of %s (ifindex %d): %w", d.Name, d.Index, err)
	}
	return s, nil
}

func numbers(v []byte) []int32 {
	out := make([]int32, 0, len(v)/4)
	for _, w := range words(v) {
		out = append(out, int32(w)) //nolint:gosec // the kernel's int
	}
	return out
}

// setLinkSettings sets what netlink can set first, then the sysctls. The error names all that failed; the others are
// set.
func (c *conn) setLinkSettings(d *device, change bond.SettingsChange) error {
	var errs []error
	if change.TxQLen != nil {
		if err := c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(uint32(*change.TxQLen)))); err != nil { //nolint:gosec // a length
			errs = append(errs, fmt.Errorf("txqlen %d: %w", *change.TxQLen, err))
		}
	}
	if change.Flags != nil {
		if err := c.setFlags(d, *change.Flags); err != nil {
			errs = append(errs, fmt.Errorf("flags %s: %w", change.Flags, err))
		}
	}
	if len(change.Sysctls) > 0 {
		errs = append(errs, c.setSysctls(d.Name, change.Sysctls))
	}
	return errors.Join(errs...)
}

func (c *conn) setFlags(d *device, flags bond.LinkFlags) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Change, msg.Flags = int32(d.Index), uint32(bond.LinkFlagsLearned), uint32(flags)
	req.AddData(msg)
	_, err := c.do(req, 0)
	return err
}

// setSysctls writes them in the netns, below the procfs directory that can be written.
func (c *conn) setSysctls(name string, all []bond.Sysctl) error {
	return c.ns.Do(func() error {
		var errs []error
		for _, s := range all {
			path := filepath.Join(c.sysctl, s.Family, s.Dir(), name, s.Name)
			if err := os.WriteFile(path, []byte(strconv.FormatInt(s.Value, 10)), 0); err != nil {
				errs = append(errs, fmt.Errorf("sysctl %s: %w", s, err))
			}
		}
		return errors.Join(errs...)
	})
}

// setUpper enslaves the bond to a link of the pod, which must still be the action's.
func (c *conn) setUpper(b *device, want bond.Upper) error {
	u, err := c.byIndex(want.Index, false)
	if err != nil {
		return err
	}
	if u.Name != want.Name || u.Kind != want.Kind {
		return fmt.Errorf("%w: ifindex %d is %s (%s), not %s (%s)", bond.ErrStale, want.Index, u.Name, u.Kind, want.Name, want.Kind)
	}
	if b.Master != 0 {
		return fmt.Errorf("%w: %s is enslaved to ifindex %d", bond.ErrStale, b.Name, b.Master)
	}
	return c.setMaster(b, u.Index)
}

// upperOf returns u as the bond's master; nil if its name is not valid text. A record would not preserve such a name.
func upperOf(u *device) *bond.Upper {
	if !utf8.ValidString(u.Name) || !utf8.ValidString(u.Kind) {
		return nil
	}
	return &bond.Upper{Index: u.Index, Name: u.Name, Kind: u.Kind, Table: vrfTable(u)}
}

// vrfTable returns the routing table of a VRF; 0 for other links, and if the message does not have it.
func vrfTable(u *device) (table int) {
	if u.Kind != "vrf" {
		return 0
	}
	_ = eachAttr(u.data, func(typ uint16, v []byte) error {
		if typ == nl.IFLA_VRF_TABLE && len(v) == 4 {
			table = int(number(v))
		}
		return nil
	}) // a message that the kernel cut off has no table
	return table
}

// observeUpper reads the bond's master, and the link that was its master when that was learned.
func (c *conn) observeUpper(b *device, r *bond.Record, o *bond.Observed) error {
	if b.Master != 0 {
		u, err := c.deviceByIndex(b.Master)
		if err != nil {
			return err
		}
		if u != nil {
			o.Bond.Upper = upperOf(u)
		}
	}
	if r.Learned == nil || r.Learned.Upper == nil {
		return nil
	}
	want := r.Learned.Upper
	u, err := c.deviceByName(want.Name)
	if err == nil && u != nil && u.Kind == want.Kind && u.Name == want.Name {
		o.Upper = &u.Link
	}
	return err
}
