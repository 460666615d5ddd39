// Package sriovstub is a stand-in for sriov-cni: ADD and DEL of one VF, with the same files, modes, order of steps and
// errors. Tests use it where a VF's plugin must behave like the real one.
//
// All facts are from the source of sriov-cni v2.10.0; the function is named at each. Release selects the behaviour of
// older releases. IPAM is left out: bonded VFs have none.
package sriovstub
