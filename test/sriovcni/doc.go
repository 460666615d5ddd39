// Package sriovcni is a stand-in for sriov-cni: ADD and DEL of one VF, with the same files, modes, order of
// steps and errors. Tests use it where a VF's plugin must behave as the real one does.
//
// All facts were read in the source of sriov-cni v2.10.0; the function is named where each is used. Older
// releases differ as Release says. IPAM is not part of it: bonded VFs have none.
package sriovcni
