package linktest

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// Newest is the release of the kernel that a new Fake behaves as.
const Newest = "7.3"

// SetRelease makes the fake behave as a kernel of another release, as far as renames and values of options differ. It
// keeps the newest one's options: OmitOptions removes them.
func (f *Fake) SetRelease(release string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release = release
}

// KernelAccepts reports whether a kernel of a release, as uname -r prints it, accepts a value of an option that it has.
func KernelAccepts(release string, name bond.Option, value string) bool {
	switch {
	case name == bond.OptUseCarrier && value == "off":
		return !bond.KernelAtLeast(release, "6.18")
	case name == bond.OptAdSelect && value == "actor_port_prio":
		return bond.KernelAtLeast(release, "6.18")
	}
	return true
}

// KernelRenamesUp reports whether a kernel of a release renames links that are up.
func KernelRenamesUp(release string) bool { return bond.KernelAtLeast(release, "6.2") }

// kernelSetsSameMAC reports whether a bond's MAC that is set once more is set on all members: on Linux 6.1, not on 6.12.
func kernelSetsSameMAC(release string) bool { return !bond.KernelAtLeast(release, "6.12") }

// kernelSeparatesMACs reports whether a new member that has the bond's MAC gets a random one with fail_over_mac=follow: on
// Linux 6.12. On 6.1 two members have the same.
func kernelSeparatesMACs(release string) bool { return bond.KernelAtLeast(release, "6.12") }

// kernelVFsLearnOfResets reports whether igbvf has handlers for PCI resets. On Linux 6.1 it has none, so that a VF that
// was reset keeps its carrier.
func kernelVFsLearnOfResets(release string) bool { return bond.KernelAtLeast(release, "6.3") }

// kernelVFsRejectMACs reports whether igbvf rejects each MAC that the PF does not permit: on Linux 6.12. On 6.1 it
// accepts some, and the VF has the PF's once it is set up.
func kernelVFsRejectMACs(release string) bool { return bond.KernelAtLeast(release, "6.12") }
