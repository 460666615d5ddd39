package link

import (
	"context"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// Probe makes a bond in a netns of its own, which is gone afterwards, and answers the options that this kernel
// does not know. The error says why no bond can be made: the driver is missing, or a right. The mode is 802.3ad, of
// which the kernel tells the most; options that name links or targets cannot be seen without some.
func Probe(ctx context.Context) (unknown []bond.Option, err error) {
	ns, err := freshNetns()
	if err != nil {
		return nil, err
	}
	c, err := (&Kernel{}).dial(ctx, ns, bond.InPod)
	if err != nil {
		return nil, err
	}
	defer c.close()
	const name = "probe"
	mode, err := encodeOption(bond.LookupOption(bond.OptMode), bond.Mode8023AD.String(), nil)
	if err != nil {
		return nil, err
	}
	req := bondRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, mode)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	if _, err = c.do(req, 0); err != nil {
		return nil, classify(fmt.Errorf("make a bond: %w", err))
	}
	b, err := c.byName(name, false)
	if err != nil {
		return nil, err
	}
	reported, err := decodeOptions(b.data, func(int) string { return "" })
	for _, d := range bond.OptionDefs() {
		needsMore := slices.Contains([]bond.ValueKind{bond.KindLink, bond.KindIPv4s, bond.KindIPv6s}, d.Kind)
		if _, known := reported[d.Name]; !known && !needsMore {
			unknown = append(unknown, d.Name)
		}
	}
	return unknown, err
}

// freshNetns makes a netns that lasts as long as it is open.
func freshNetns() (ns *netns.NS, err error) {
	here, err := netns.Current()
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close() }()
	err = here.Do(func() (err error) { // which takes the thread back
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace (this needs CAP_SYS_ADMIN): %w", err)
		}
		ns, err = netns.Current()
		return err
	})
	return ns, err
}
