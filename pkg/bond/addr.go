package bond

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

// MAC is an Ethernet address in its canonical text: six lower-case hexadecimal
// pairs joined by colons. The empty MAC means "not known" or "not requested".
type MAC string

// ParseMAC parses any form that net.ParseMAC accepts of a 48-bit address that an
// interface can have: not multicast and not all zero.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", fmt.Errorf("MAC address %.64q: want six hexadecimal pairs, e.g. 02:00:00:00:00:01", s)
	}
	m := MACOf(hw)
	if hw[0]&1 != 0 || m.IsZero() {
		return "", fmt.Errorf("MAC address %.64q: want a unicast address that is not all zero", s)
	}
	return m, nil
}

// MACOf returns the canonical text of hw; empty if hw is not an Ethernet address.
func MACOf(hw net.HardwareAddr) MAC {
	if len(hw) != 6 {
		return ""
	}
	return MAC(hw.String())
}

// Bytes returns the address in the kernel's form; nil for the empty MAC.
func (m MAC) Bytes() net.HardwareAddr {
	if m == "" {
		return nil
	}
	hw, err := net.ParseMAC(string(m))
	if err != nil {
		return nil
	}
	return hw
}

// IsZero reports whether m is empty or 00:00:00:00:00:00. With the latter a PF reports that no administrative MAC was
// set for a VF.
func (m MAC) IsZero() bool { return m == "" || m == "00:00:00:00:00:00" }

// PCIAddress is a PCI function's address in its full form, "0000:01:10.0". It identifies a VF in every netns and under
// every name.
type PCIAddress string

var pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]$`)

// ParsePCIAddress checks the form domain:bus:device.function; the domain is optional.
func ParsePCIAddress(s string) (PCIAddress, error) {
	full := strings.ToLower(s)
	if strings.Count(full, ":") == 1 {
		full = "0000:" + full
	}
	if !pciAddress.MatchString(full) {
		return "", fmt.Errorf("PCI address %.64q: want domain:bus:device.function, e.g. 0000:01:10.0", s)
	}
	return PCIAddress(full), nil
}
