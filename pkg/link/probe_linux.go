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

// Probe creates a bond in a temporary netns and returns the options that this kernel does not support. It returns an
// error if no bond can be created: the driver or a capability is missing. The mode is 802.3ad, for which the kernel
// reports the most options; those that name links or targets are not reported without any.
func Probe(ctx context.Context) (unknown []bond.Option, err error) {
	ns, err := newNetns()
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
		return nil, classify(fmt.Errorf("create a bond: %w", err))
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

// newNetns creates a netns that exists while it is open.
func newNetns() (ns *netns.NS, err error) {
	here, err := netns.Current()
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close() }()
	err = here.Do(func() (err error) { // which returns the thread
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create a network namespace (this needs CAP_SYS_ADMIN): %w", err)
		}
		ns, err = netns.Current()
		return err
	})
	return ns, err
}
