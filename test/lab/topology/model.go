package topology

// Model is what differs between models of SR-IOV cards.
type Model struct {
	// Name is the one that BONDKEEPER_LAB_CARDS selects.
	Name string `json:"name"`
	// PFDriver and VFDriver are the PCI drivers of its PF and its VFs.
	PFDriver string `json:"pfDriver"`
	VFDriver string `json:"vfDriver"`
	// VFSettings: the PF has settings for its VFs: MAC, VLAN, trust and others (ip link set PF vf N).
	VFSettings bool `json:"vfSettings"`
	// VFsFollowPF: VFs have no carrier while their PF is down.
	VFsFollowPF bool `json:"vfsFollowPF"`
	// ResetDropsCarrier: a VF has no carrier after a function-level reset. Otherwise nothing shows that it is dead.
	ResetDropsCarrier bool `json:"resetDropsCarrier"`
	// ResetsMAC: a VF whose link was set down, or whose MTU was changed, has its card's MAC.
	ResetsMAC bool `json:"resetsMAC"`
}

var (
	// IGB is an Intel 82576.
	IGB = Model{
		Name: "igb", PFDriver: "igb", VFDriver: "igbvf",
		VFSettings: true, VFsFollowPF: true, ResetDropsCarrier: true, ResetsMAC: true,
	}
	// Virtio is a card of virtio-net.
	Virtio = Model{Name: "virtio", PFDriver: "virtio-pci", VFDriver: "virtio-pci"}
)

// ModelNamed returns a model by its name; the empty name is igb's.
func ModelNamed(name string) (Model, bool) {
	for _, m := range []Model{IGB, Virtio} {
		if name == m.Name || name == "" {
			return m, true
		}
	}
	return Model{}, false
}
