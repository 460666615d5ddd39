package bond

// SriovCNI are sriov-cni's files about a VF that it attached to this pod. It removes both when it takes the VF back.
// Each is evidence that it has not done so.
type SriovCNI struct {
	// Cache is the path of the cache file of this attachment: container ID and interface name.
	Cache string `json:"cache"`
	// Claim is the path of the file that names the netns which has the VF; empty if the version of sriov-cni that
	// attached it wrote no such file (before 2.7).
	Claim string `json:"claim,omitempty"`
}

// Ownership is whether a VF still belongs to the pod, by the files of the plugin that attached it.
type Ownership string

// The values of Ownership.
const (
	// OwnerUnknown: the record names no such files. Only weaker evidence exists.
	OwnerUnknown Ownership = ""
	// Owned: all recorded files exist and name this VF and this netns.
	Owned Ownership = "owned"
	// Released: a file was removed or names another VF or netns. The plugin has returned the VF to its owner.
	Released Ownership = "released"
	// Unreadable: a file cannot be read, so nothing is known.
	Unreadable Ownership = "unreadable"
)

// MayChange reports whether a VF may be moved into the pod and its settings may be written.
func (o Ownership) MayChange() bool { return o == Owned || o == OwnerUnknown }
