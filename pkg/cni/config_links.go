package cni

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// Link is one entry of links.
type Link struct {
	Name string
	bond.MemberOptions
}

// LinkNames returns the names of the links, in their order.
func (c *Config) LinkNames() []string {
	names := make([]string, len(c.Links))
	for i := range c.Links {
		names[i] = c.Links[i].Name
	}
	return names
}

// links reads the members. Other fields of an entry are ignored.
func (o object) links() ([]Link, error) {
	least, want := 2, allowedValues(fieldLinks)
	switch single, err := o.Boolean(fieldSingle); {
	case err != nil:
		return nil, err
	case single:
		least, want = 1, wantSingleLink
	}
	var entries []json.RawMessage
	if _, err := o.Decode(fieldLinks, want, &entries); err != nil {
		return nil, err
	}
	if len(entries) < least {
		if len(entries) == 1 {
			want += "; one link only with " + fieldSingle + ": true"
		}
		return nil, o.Invalid(fieldLinks, want)
	}
	links := make([]Link, 0, len(entries))
	for i, entry := range entries {
		inner, err := netconf.Parse(fmt.Sprintf("links[%d].", i), entry)
		if err != nil || string(entry) == "null" {
			return nil, o.Invalid(fieldLinks, want)
		}
		l, err := object{inner}.link(links)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// link reads one entry; before are the previous ones.
func (o object) link(before []Link) (l Link, err error) {
	name, found, err := o.Str("name", allowedValues(fieldName))
	if err != nil {
		return l, err
	}
	if !found {
		return l, o.Invalid("name", allowedValues(fieldName))
	}
	if err := bond.ValidateIfName(name); err != nil {
		return l, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("%sname: %v", o.Path, err), "")
	}
	if slices.ContainsFunc(before, func(b Link) bool { return b.Name == name }) {
		return l, netconf.Invalid(o.Path+"name", fmt.Sprintf("%q a second time", name), "each link once")
	}
	l.Name = name
	if n, found, err := o.integer("queueId", allowedValues(fieldQueueID), 0, maxQueueID); err != nil {
		return l, err
	} else if found {
		l.QueueID = new(uint16(n))
	}
	for _, b := range before {
		if l.QueueID != nil && *l.QueueID != 0 && b.QueueID != nil && *b.QueueID == *l.QueueID {
			return l, netconf.Invalid(o.Path+"queueId", fmt.Sprintf("%d, which is that of %s", *l.QueueID, b.Name), "another for each link")
		}
	}
	if n, found, err := o.integer("prio", allowedValues(fieldPrio), -1<<31, 1<<31-1); err != nil {
		return l, err
	} else if found {
		l.Prio = new(int32(n))
	}
	if n, found, err := o.integer("actorPortPrio", allowedValues(fieldPortPrio), 0, 1<<16-1); err != nil {
		return l, err
	} else if found {
		l.ActorPortPrio = new(uint16(n))
	}
	return l, nil
}

// integer reads a number, with or without quotes; false if it is absent.
func (o object) integer(name, want string, low, high int64) (int64, bool, error) {
	text, found, err := o.Scalar(name, want)
	if err != nil || !found {
		return 0, false, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < low || n > high {
		return 0, false, o.Invalid(name, want)
	}
	return n, true, nil
}

// checkPrios: only modes with one active member have priorities, and only 802.3ad has those of ports.
func (c *Config) checkPrios() error {
	mode := c.Options.Mode()
	for i, l := range c.Links {
		switch {
		case l.Prio != nil && !mode.UsesPrimary():
			return netconf.Invalid(fmt.Sprintf("links[%d].prio", i), strconv.Itoa(int(*l.Prio)),
				fmt.Sprintf("none in mode %s; the kernel accepts it in active-backup, balance-tlb, balance-alb", mode))
		case l.ActorPortPrio != nil && mode != bond.Mode8023AD:
			return netconf.Invalid(fmt.Sprintf("links[%d].actorPortPrio", i), strconv.Itoa(int(*l.ActorPortPrio)),
				fmt.Sprintf("none in mode %s; the kernel accepts it in 802.3ad", mode))
		}
	}
	return nil
}

// linkTimeout is how long ADD may wait for links.
func (o object) linkTimeout() (time.Duration, error) {
	n, _, err := o.integer(fieldTimeout, allowedValues(fieldTimeout), 0, int64(maxLinkTimeout.Seconds()))
	return time.Duration(n) * time.Second, err
}
