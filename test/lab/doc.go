// Package lab boots a virtual machine with emulated SR-IOV cards and runs commands in it. Tests then use real bonding,
// VFs and drivers on any machine with QEMU.
//
// The guest is a stock Debian kernel on the host's own root, read-only under an overlay in memory. Every program and
// file of the host has the same path in the guest. The guest's changes reach the host only in the shared directory
// (Guest.WorkDir on the host, topology.ShareDir in the guest). Each card is an Intel 82576 (igb) with up to seven VFs, or
// one of virtio-net (BONDKEEPER_LAB_CARDS=virtio); all cards are on one L2 segment.
//
//	guest, err := lab.Start(ctx, lab.Config{Cards: 2, VFs: 4})
//	if err != nil { ... }
//	defer guest.Stop(ctx)
//	err = guest.Run(ctx, lab.Cmd{Path: "ip", Args: []string{"link"}, Stdout: os.Stdout})
//
// deps.sh (make deps) installs and downloads what the host needs. Packages for the guest import only the subpackage
// topology. The command line is in cmd/lab.
//
// This package knows QEMU, but not bonds.
package lab
