package linktest

import "github.com/bondkeeper/bondkeeper/pkg/bond"

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
