// Command floor makes and removes a bond with nothing but the netlink messages that the kernel needs. It is the lower
// bound that package bench compares the plugin with: the same process start, the same work of the kernel, and no checks,
// no record, no lock. It can do nothing else: its bond has a fixed ifindex, so that it need not be looked up.
//
// Its environment is that of a CNI plugin (CNI_COMMAND, CNI_NETNS, CNI_IFNAME); the members are its arguments. If the
// variable FLOOR_IPAM has the path of an IPAM plugin, floor calls it with its own standard input. With CNI_COMMAND=NONE it
// does nothing: then it measures the start of a process.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/bench/message"
)

// bondIndex is the ifindex of the bond. The kernel counts from 1 in each netns.
const bondIndex = 40000

func main() {
	err := run(os.Getenv("CNI_COMMAND"), os.Getenv("CNI_IFNAME"), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(command, name string, members []string) error {
	if command == "NONE" {
		return nil
	}
	ipam := os.Getenv("FLOOR_IPAM")
	var address *net.IPNet
	if ipam != "" {
		var err error
		if address, err = callIPAM(ipam, command == "ADD"); err != nil {
			return err
		}
	}
	runtime.LockOSThread() //nolint:forbidigo // for the rest of the process
	ns, err := os.Open(os.Getenv("CNI_NETNS"))
	if err != nil {
		return err
	}
	if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil { //nolint:forbidigo // without anything else
		return err
	}
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	if command == "ADD" {
		return add(s, name, members, address)
	}
	return remove(s, members)
}

// add makes the bond: one message for it and its options, two for each member, and one to set it up.
func add(s *nl.NetlinkSocket, name string, members []string, address *net.IPNet) error {
	if err := message.Send(s, createBond(name)); err != nil {
		return fmt.Errorf("create bond: %w", err)
	}
	for _, m := range members {
		if err := message.Send(s, message.SetUp(0, m, false)); err != nil {
			return fmt.Errorf("set %s down: %w", m, err)
		}
		if err := message.Send(s, message.Enslave(m, bondIndex)); err != nil {
			return fmt.Errorf("enslave %s: %w", m, err)
		}
	}
	if address != nil {
		if err := message.Send(s, addAddress(address)); err != nil {
			return fmt.Errorf("add address: %w", err)
		}
	}
	return message.Send(s, message.SetUp(bondIndex, "", true))
}

// remove deletes the bond, which releases the members, and sets these up again, as they were.
func remove(s *nl.NetlinkSocket, members []string) error {
	if err := message.Send(s, message.Link(unix.RTM_DELLINK, 0, bondIndex, "")); err != nil {
		return fmt.Errorf("delete bond: %w", err)
	}
	for _, m := range members {
		if err := message.Send(s, message.SetUp(0, m, true)); err != nil {
			return fmt.Errorf("set %s up: %w", m, err)
		}
	}
	return nil
}

func createBond(name string) *nl.NetlinkRequest {
	req := message.Link(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, bondIndex, name)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bond"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	const activeBackup, failOverMACActive = 1, 1
	data.AddRtAttr(nl.IFLA_BOND_MODE, nl.Uint8Attr(activeBackup))
	data.AddRtAttr(nl.IFLA_BOND_MIIMON, nl.Uint32Attr(100))
	data.AddRtAttr(nl.IFLA_BOND_FAIL_OVER_MAC, nl.Uint8Attr(failOverMACActive))
	req.AddData(info)
	return req
}

func addAddress(a *net.IPNet) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	ones, _ := a.Mask.Size()
	msg.Index, msg.Prefixlen = bondIndex, uint8(ones) //nolint:gosec // 32 at most
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.IP.To4()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, a.IP.To4()))
	return req
}

// callIPAM calls the IPAM plugin, and returns the address that an ADD allocates.
func callIPAM(program string, isAdd bool) (*net.IPNet, error) {
	cmd := exec.Command(program)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &out, os.Stderr
	if err := cmd.Run(); err != nil || !isAdd {
		return nil, err
	}
	var result struct {
		IPs []struct{ Address string }
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || len(result.IPs) != 1 {
		return nil, fmt.Errorf("result of IPAM: %w: %s", err, out.Bytes())
	}
	ip, network, err := net.ParseCIDR(result.IPs[0].Address)
	if err == nil {
		network.IP = ip
	}
	return network, err
}
