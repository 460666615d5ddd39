package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// bondRequest returns an RTM_NEWLINK about a bond with options. Only that message,
// not RTM_SETLINK, reaches the bonding driver (rtnl_newlink, changelink).
func bondRequest(flags, index int, options ...*nl.RtAttr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, flags|unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("bond"))
	data := info.AddRtAttr(unix.IFLA_INFO_DATA, nil)
	for _, o := range options {
		data.AddChild(o)
	}
	req.AddData(info)
	return req
}

// createBond creates the bond in one request, so that it is never partly configured.
func (k *Kernel) createBond(ctx context.Context, r *bond.Record, a plan.CreateBond) error {
	c, err := k.openPod(ctx, r.Sandbox)
	if err != nil {
		return err
	}
	defer c.close()
	options, err := c.initialOptions(a.Options)
	if err != nil {
		return err
	}
	req := bondRequest(unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, options...)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(a.Name)))
	if a.MAC != "" {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, a.MAC.Bytes()))
	}
	if a.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(a.MTU))))
	}
	_, err = c.do(req, 0)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: another link in the pod has the name %s: %w", bond.ErrStale, a.Name, err)
	}
	if err != nil {
		return err
	}
	b, err := c.verifyOrDelete(a)
	if err == nil && r.Phase == bond.PhaseAdding {
		r.BondIndex = b.Index
	}
	return err
}

// verifyOrDelete reads a bond that was just created and deletes it if an option is not as requested: kernels silently
// ignore unknown options.
func (c *conn) verifyOrDelete(a plan.CreateBond) (*device, error) {
	b, err := c.byName(a.Name, false)
	if err != nil {
		return nil, err
	}
	have, err := decodeOptions(b.data, func(int) string { return "" })
	if err == nil {
		err = optionMismatch(a.Options.Effective(), have)
	}
	if err == nil || b.Kind != "bond" {
		return b, err
	}
	return nil, errors.Join(err, c.deleteBond(b))
}

// optionMismatch returns an error for the options that the kernel does not report as requested, with their names; nil
// if there are none. Options that name a link are reported only once it is enslaved.
func optionMismatch(requested, have bond.Options) error {
	var errs []error
	requested = requested.Effective()
	for _, name := range requested.Names() {
		d := bond.LookupOption(name)
		value, reported := have[name]
		switch {
		case d.Kind == bond.KindLink || reported && value == requested[name]:
		case !reported || d.Kind == bond.KindIPv6s && value == "": // an empty list is not reported
			errs = append(errs, unsupported(string(name), d.Since))
		default:
			errs = append(errs, fmt.Errorf("%w: %s: the kernel accepted %q but has %q", bond.ErrUnsupported, name, requested[name], value))
		}
	}
	return errors.Join(errs...)
}

// unsupported is the error for an option that the kernel does not report.
func unsupported(option, since string) error {
	return fmt.Errorf("%w: %s: this kernel does not support it; Linux %s and newer do", bond.ErrUnsupported, option, since)
}

// initialOptions leaves out the active member, because there is none yet, and a primary whose
// link is not in the pod, because the kernel identifies links by ifindex only.
func (c *conn) initialOptions(all bond.Options) ([]*nl.RtAttr, error) {
	var out []*nl.RtAttr
	for _, name := range all.Names() {
		if name == bond.OptActiveSlave {
			continue
		}
		o, err := encodeOption(bond.LookupOption(name), all[name], c.indexOf)
		if name == bond.OptPrimary && errors.Is(err, bond.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (c *conn) indexOf(name string) (int, error) {
	d, err := c.byName(name, false)
	if err != nil {
		return 0, err
	}
	return d.Index, nil
}

// setOptions sends one request per option, so that a rejected one does not prevent the others. The error names all
// rejected ones.
func (c *conn) setOptions(b *device, options bond.Options) error {
	var errs []error
	for _, name := range options.Names() {
		o, err := encodeOption(bond.LookupOption(name), options[name], c.indexOf)
		if err == nil {
			_, err = c.do(bondRequest(0, b.Index, o), 0)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: %w", name, options[name], classify(err)))
		}
	}
	return errors.Join(errs...)
}

func (c *conn) deleteBond(b *device) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(b.Index)
	req.AddData(msg)
	_, err := c.do(req, 0)
	return err
}

// enslave first checks what the kernel would reject with a mere EPERM, or do silently: it releases the link from
// another master.
func (c *conn) enslave(d, b *device) error {
	switch {
	case d.Master == b.Index:
		return nil
	case d.Master != 0:
		return fmt.Errorf("%w: %s is enslaved to ifindex %d", bond.ErrStale, d.Name, d.Master)
	case d.Up:
		return fmt.Errorf("%w: %s is up, and the kernel enslaves only links that are down", bond.ErrBusy, d.Name)
	}
	err := c.setMaster(d, b.Index)
	if errors.Is(err, unix.EBUSY) { // either its card, or bond_enslave (netdev_is_rx_handler_busy)
		return cmp.Or(c.inUse(d), err)
	}
	if rejectedByPF(err) { // bond_enslave returns the driver's error about the bond's MAC
		return fmt.Errorf("the driver of %s refuses the MAC that %s gives its members (%s): %w; if it is a VF, trust it on its PF (ip link set PF vf N trust on), or use active-backup with failOverMac=active", d.Name, b.Name, b.MAC, err)
	}
	return err
}

// inUse is an error that names the links on top of one, such as a macvlan, beside which it cannot be enslaved; nil if
// there are none. Time alone does not change that, so it is not bond.ErrBusy.
func (c *conn) inUse(d *device) error {
	above, err := c.list(allLinks, func(other *device, found int) bool { return other.lower == d.Index && found < maxNamed })
	if err != nil || len(above) == 0 {
		return nil
	}
	names := make([]string, 0, maxNamed)
	for _, other := range above {
		names = append(names, fmt.Sprintf("%s (kind %q)", other.Name, other.Kind))
	}
	return fmt.Errorf("%s is in use by links on top of it: %s; delete them in the pod", d.Name, strings.Join(names, ", "))
}

// maxNamed bounds the links that an error names.
const maxNamed = 5

func (c *conn) setActive(d, b *device) error {
	if d.Master != b.Index {
		return fmt.Errorf("%w: %s is not a member of %s", bond.ErrStale, d.Name, b.Name)
	}
	attr := nl.NewRtAttr(int(bond.LookupOption(bond.OptActiveSlave).Attr), nl.Uint32Attr(uint32(d.Index)))
	_, err := c.do(bondRequest(0, b.Index, attr), 0)
	if errors.Is(err, unix.EINVAL) { // bond_option_active_slave_set returns it for a member without carrier
		return fmt.Errorf("%w: %s or its link is down: %w", bond.ErrBusy, d.Name, err)
	}
	return err
}
