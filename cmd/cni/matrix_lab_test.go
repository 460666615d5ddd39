//go:build lab

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

var specVersions = []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// unlike is a value that is not the option's default.
func unlike(d *bond.OptionDef) string {
	switch d.Kind {
	case bond.KindEnum8, bond.KindEnum32:
		for _, v := range d.Values {
			if v != "" && v != d.Default && linktest.KernelAccepts(kit.KernelRelease(), d.Name, v) {
				return v
			}
		}
		return d.Default
	case bond.KindIPv4s:
		return "192.0.2.1,192.0.2.2"
	case bond.KindIPv6s:
		return "2001:db8::1,2001:db8::2"
	case bond.KindMAC:
		return "02:00:00:00:00:77"
	case bond.KindLink:
		return "net2"
	}
	return strconv.Itoa(int(min(300, d.Max))) // a multiple of miimon
}

// otherwise is a value other than unlike, if there is one: the last besides the default. may, if not nil, excludes
// those for which it is false.
func otherwise(d *bond.OptionDef, may func(value string) bool) string {
	value := d.Default
	switch d.Kind {
	case bond.KindEnum8, bond.KindEnum32:
		for _, v := range d.Values {
			if v != "" && v != unlike(d) && (may == nil || may(v)) && linktest.KernelAccepts(kit.KernelRelease(), d.Name, v) {
				value = v
			}
		}
	case bond.KindIPv4s:
		return "192.0.2.9"
	case bond.KindIPv6s:
		return "2001:db8::9"
	case bond.KindMAC:
		return "02:00:00:00:00:78"
	case bond.KindLink:
		return "net1"
	default:
		return strconv.Itoa(int(min(200, d.Max-1)))
	}
	return value
}

// monitor is a way to detect failures of members; the options of one exclude those of the other.
type monitor string

const (
	mii monitor = "MII"
	arp monitor = "ARP"
)

// monitors are those that a mode supports.
func monitors(m bond.Mode) []monitor {
	if bond.LookupOption(bond.OptArpInterval).ValidIn(m) {
		return []monitor{mii, arp}
	}
	return []monitor{mii}
}

// bundle are all options that can be combined in a mode with one kind of monitor, with the values of value.
func bundle(mode bond.Mode, by monitor, value func(*bond.OptionDef) string) bond.Options {
	o := bond.Options{bond.OptMode: mode.String()}
	if by == mii {
		o[bond.OptMiimon] = "100"
	}
	for _, d := range bond.OptionDefs() {
		only := mii + arp
		switch d.Name {
		case bond.OptArpInterval, bond.OptArpValidate, bond.OptArpIPTargets, bond.OptNsIP6Targets, bond.OptArpMissedMax:
			only = arp
		case bond.OptMiimon, bond.OptUpdelay, bond.OptDowndelay, bond.OptPeerNotifyDelay:
			only = mii
		}
		_, set := o[d.Name]
		if set || !bond.KernelAtLeast(kit.KernelRelease(), d.Since) || !d.ValidIn(mode) || d.Name == bond.OptActiveSlave || !strings.Contains(string(only), string(by)) {
			continue
		}
		o[d.Name] = value(&d)
	}
	return o
}

func fieldsOf(o bond.Options) map[string]any {
	fields := map[string]any{}
	for k, v := range o {
		fields[string(k)] = v
	}
	return fields
}

// TestMatrix makes bonds of every mode with all options of the mode, and reads each option with other tools. Versions
// of the specification and values alternate: two or three versions per mode and monitor. ADD, CHECK, DEL.
func TestMatrix(t *testing.T) {
	shared := newPod(t)
	shared.attachVFs()
	before := shared.links()
	var count tally
	row := 0
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		for _, by := range monitors(mode) {
			row++
			for i, version := range specVersions {
				if i%3 != row%3 {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %s", mode, by, version), func(t *testing.T) {
					p := shared.in(t)
					want := bundle(mode, by, []func(*bond.OptionDef) string{unlike, func(d *bond.OptionDef) string { return otherwise(d, nil) }}[i%2])
					d := p.direct(version, fieldsOf(want))
					d.add()
					reported := p.reported("bond0")
					for _, o := range want.Names() {
						reported.compare(p, o, want[o], &count)
					}
					if got := p.proc("bond0", "Bonding Mode"); !strings.HasPrefix(got, procMode[mode]) {
						t.Errorf("/proc/net/bonding has mode %q, want %q", got, procMode[mode])
					}
					if i > 1 { // older versions have neither CHECK nor a result without addresses to give it
						d.must("CHECK")
					}
					d.must("DEL")
					d.gone()
					count.bonds++
				})
			}
		}
		shared.in(t).likeBefore(before)
	}
	t.Log(&count)
}

// procMode has the modes' names in /proc/net/bonding.
var procMode = map[bond.Mode]string{
	bond.ModeRoundRobin: "load balancing (round-robin)", bond.ModeActiveBackup: "fault-tolerance (active-backup)", bond.ModeXOR: "load balancing (xor)",
	bond.ModeBroadcast: "fault-tolerance (broadcast)", bond.Mode8023AD: "IEEE 802.3ad", bond.ModeTLB: "transmit load balancing", bond.ModeALB: "adaptive load balancing",
}

// TestRejectedOptions: options that the kernel rejects in a mode are rejected by the plugin, without a change, and by
// the kernel.
func TestRejectedOptions(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	tried, byIP := 0, 0
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		for _, def := range bond.OptionDefs() {
			if def.ValidIn(mode) {
				continue
			}
			tried++
			value := unlike(&def)
			_, err := p.direct("1.1.0", map[string]any{"mode": mode.String(), string(def.Name): value}).verb("ADD")
			var coded *types.Error
			if !errors.As(err, &coded) || coded.Code != types.ErrInvalidNetworkConfig || !strings.Contains(coded.Msg, mode.String()) || !strings.Contains(coded.Msg, string(def.Name)) {
				t.Errorf("ADD with %s in mode %s: %v", def.Name, mode, err)
			}
			word := others[def.Name].ip
			if word == "" || def.Kind == bond.KindIPv4s || def.Kind == bond.KindIPv6s {
				continue // the kernel accepts targets in any mode, but uses them only with ARP monitoring
			}
			out, err := exec.Command("ip", "-n", p.name, "link", "add", "bk0", "type", "bond", "mode", mode.String(), word, ipWord(&def, value)).CombinedOutput()
			if err == nil {
				p.ip("-n", p.name, "link", "del", "bk0")
				t.Errorf("the kernel takes it: ip link add type bond mode %s %s %s", mode, word, value)
				continue
			}
			if !bytes.Contains(out, []byte("RTNETLINK answers")) && !bytes.Contains(out, []byte("option")) {
				t.Errorf("mode %s %s %s: ip did not ask the kernel: %s", mode, word, value, out)
			}
			byIP++
		}
	}
	p.likeBefore(before)
	t.Logf("%d combinations of mode and option rejected, %d of them tried and rejected by the kernel through ip", tried, byIP)
}

// TestActiveSlaveInTheLab: the member in activeSlave is active at first, if it has carrier.
func TestActiveSlaveInTheLab(t *testing.T) {
	shared := newPod(t)
	shared.attachVFs()
	for _, mode := range []string{"active-backup", "balance-tlb", "balance-alb"} {
		t.Run(mode, func(t *testing.T) {
			p := shared.in(t)
			d := p.direct("1.1.0", map[string]any{"mode": mode, "activeSlave": "net2"})
			d.add()
			p.wait("net2 is active", func() bool { d.converge(); return p.proc("bond0", "Currently Active Slave") == "net2" })
			d.must("CHECK")
			d.must("DEL")
		})
	}
}
