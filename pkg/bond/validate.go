package bond

import (
	"fmt"
	"slices"
)

// Validate rejects a record that must not be acted on: what identifies the bond, the
// sandbox or a member is missing, malformed or ambiguous, or the phase is unknown. PCI
// addresses and names become part of paths and kernel requests, so their form is checked.
//
// The bonding options are not checked (Options.Validate does): one that this program
// does not know must not make the record unusable.
func (r *Record) Validate() error {
	if err := r.Key.Validate(); err != nil {
		return err
	}
	if !slices.Contains([]Phase{PhaseAdding, PhaseReady, PhaseDeleting}, r.Phase) {
		return fmt.Errorf("phase %.64q: want %s, %s or %s", r.Phase, PhaseAdding, PhaseReady, PhaseDeleting)
	}
	if r.Sandbox.Path == "" || r.Sandbox.Inode == 0 {
		return fmt.Errorf("sandbox: path %.64q and inode %d do not identify a network namespace", r.Sandbox.Path, r.Sandbox.Inode)
	}
	if err := ValidateIfName(r.BondName()); err != nil {
		return err
	}
	if !r.Spec.MAC.canonical() {
		return fmt.Errorf("MAC address %.64q of the bond: want lower case, e.g. 02:00:00:00:00:01, or nothing", r.Spec.MAC)
	}
	for i := range r.Members {
		if err := r.Members[i].validate(); err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
		for j := range i {
			if a, b := &r.Members[j], &r.Members[i]; a.Name == b.Name || a.PCI != "" && a.PCI == b.PCI {
				return fmt.Errorf("members %d and %d are both %s", j, i, b)
			}
		}
	}
	return nil
}

func (m *Member) validate() error {
	if err := ValidateIfName(m.Name); err != nil {
		return err
	}
	if known := m.PCI != "" || m.Index != 0; known == m.Unidentified {
		if known {
			return fmt.Errorf("%s: unidentified, and with a PCI address or ifindex", m.Name)
		}
		return fmt.Errorf("%s: neither PCI address nor ifindex", m.Name)
	}
	if m.HostIndex != 0 && (m.PCI != "" || !m.Original.FromHost) {
		return fmt.Errorf("%s: it has an ifindex in the host (%d) and is not a virtual link from there", m.Name, m.HostIndex)
	}
	if m.PCI != "" && !pciAddress.MatchString(string(m.PCI)) {
		return fmt.Errorf("%s: PCI address %.64q: want domain:bus:device.function, e.g. 0000:01:10.0", m.Name, m.PCI)
	}
	if m.VF != nil && !pciAddress.MatchString(string(m.VF.PF)) {
		return fmt.Errorf("%s: PCI address %.64q of the PF: want domain:bus:device.function, e.g. 0000:01:00.0", m.Name, m.VF.PF)
	}
	macs := []MAC{m.MAC, m.PermMAC, m.Original.MAC}
	if m.VF != nil && m.VF.Settings.MAC != nil {
		macs = append(macs, *m.VF.Settings.MAC)
	}
	for _, mac := range macs {
		if !mac.canonical() {
			return fmt.Errorf("%s: MAC address %.64q: want lower case, e.g. 02:00:00:00:00:01, or nothing", m.Name, mac)
		}
	}
	if m.Original.Name != "" {
		return ValidateIfName(m.Original.Name)
	}
	return nil
}

// canonical reports whether m is empty or an Ethernet address in the form that MACOf returns.
func (m MAC) canonical() bool { return m == "" || MACOf(m.Bytes()) == m }
