package linktest

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// KernelAccepts reports whether a kernel of a release, as uname -r prints it, has an option and accepts a value of it;
// "" stands for any value. Stable series have some options of newer versions.
func KernelAccepts(release string, name bond.Option, value string) bool {
	switch {
	case name == bond.OptUseCarrier && value == "off":
		return !bond.KernelAtLeast(release, "6.18")
	case name == bond.OptAdSelect && value == "actor_port_prio":
		return bond.KernelAtLeast(release, "6.18")
	}
	return value != "" || bond.KernelAtLeast(release, bond.LookupOption(name).Since)
}
