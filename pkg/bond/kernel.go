package bond

import "fmt"

// The oldest supported kernel. Since 5.14 link messages have the PCI address by which a VF is recognised
// (IFLA_PARENT_DEV_NAME), and a netns has a cookie (SO_NETNS_COOKIE).
const (
	MinKernelMajor = 5
	MinKernelMinor = 14
)

// CheckKernel returns an error that wraps ErrUnsupported if the kernel of a release, as uname -r prints it, is too old
// for bonds to be repaired. A release that does not begin with a version is accepted.
func CheckKernel(release string) error {
	if KernelAtLeast(release, fmt.Sprintf("%d.%d", MinKernelMajor, MinKernelMinor)) {
		return nil
	}
	return fmt.Errorf("kernel %s does not report which VF a link is, so a lost VF could not be recognised; use Linux %d.%d or newer: %w",
		release, MinKernelMajor, MinKernelMinor, ErrUnsupported)
}

// KernelAtLeast reports whether a release, as uname -r prints it, is a version such as "6.18" or newer. A release that
// does not begin with a version counts as newer than all. Distributions and stable series port features to
// older kernels, so apart from the minimum only tests and advice may depend on it: what a kernel can do is tried.
func KernelAtLeast(release, version string) bool {
	var major, minor, wantMajor, wantMinor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return true
	}
	_, _ = fmt.Sscanf(version, "%d.%d", &wantMajor, &wantMinor)
	return major > wantMajor || major == wantMajor && minor >= wantMinor
}
