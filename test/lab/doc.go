// Package lab boots a virtual machine with emulated SR-IOV cards and runs commands in it, so that the
// project is tested on real bonding, real VFs and real drivers on any machine with QEMU.
//
// The guest is a stock Debian kernel and the host's own root, read-only under a layer in memory: every
// program and file of the host is found in the guest under the same path, and nothing that the guest does
// reaches the host except through the shared directory (Guest.WorkDir on the host, topology.ShareDir in
// the guest). Each card is an Intel 82576 (igb) with up to seven VFs; all cards are on one L2 segment.
//
//	guest, err := lab.Start(ctx, lab.Config{Cards: 2, VFs: 4})
//	if err != nil { ... }
//	defer guest.Stop(ctx)
//	err = guest.Run(ctx, lab.Cmd{Path: "ip", Args: []string{"link"}, Stdout: os.Stdout})
//
// What the machine needs is installed and downloaded by deps.sh (make deps). Packages built for the guest
// import only the subpackage topology. The command line is in cmd/lab.
//
// This package knows QEMU and nothing of bonds.
package lab
