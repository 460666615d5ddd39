package watch

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// noNSID stands for a netns that has no ID, or that we do not know the ID of.
const noNSID int32 = -1

// index finds the keys that an event concerns. It is built whole and then only read.
type index struct {
	// self is the ID that the host's netns has of itself; it mostly has none.
	self      int32
	sandboxes map[int32][]bond.Key
	devices   map[bond.PCIAddress]*device
	keys      []bond.Key
	// deaf are the sandboxes that live and could not be given an ID.
	deaf map[bond.Sandbox]bool
}

// device is a PCI function with a netdev: a member, or a PF that members stand on.
type device struct {
	pci     bond.PCIAddress
	members []bond.Key
	onPF    []bond.Key
}

// newIndex puts the records in order. nsid answers the ID of a sandbox's netns; noNSID when it
// has none because it is dead, and an error when that is not why. It is asked once a sandbox.
func newIndex(watched []Watched, self int32, nsid func(bond.Sandbox) (int32, error)) *index {
	idx := &index{
		self:      self,
		sandboxes: make(map[int32][]bond.Key, len(watched)),
		devices:   make(map[bond.PCIAddress]*device, 3*len(watched)),
		keys:      make([]bond.Key, 0, len(watched)),
		deaf:      map[bond.Sandbox]bool{},
	}
	asked := make(map[bond.Sandbox]int32, len(watched))
	for i := range watched {
		w := &watched[i]
		idx.keys = append(idx.keys, w.Key)
		id, known := asked[w.Sandbox]
		if !known {
			var err error
			if id, err = nsid(w.Sandbox); err != nil {
				id, idx.deaf[w.Sandbox] = noNSID, true
			}
			asked[w.Sandbox] = id
		}
		if id != noNSID {
			idx.sandboxes[id] = append(idx.sandboxes[id], w.Key)
		}
		for _, pci := range w.Members {
			idx.addDevice(pci, func(d *device) *[]bond.Key { return &d.members }, w.Key)
		}
		for _, pci := range w.PFs {
			idx.addDevice(pci, func(d *device) *[]bond.Key { return &d.onPF }, w.Key)
		}
	}
	return idx
}

func (idx *index) addDevice(pci bond.PCIAddress, list func(*device) *[]bond.Key, key bond.Key) {
	if pci == "" {
		return
	}
	d := idx.devices[pci]
	if d == nil {
		d = &device{pci: pci}
		idx.devices[pci] = d
	}
	// A record's keys come one after the other, so a repetition is next to the first.
	if keys := list(d); len(*keys) == 0 || (*keys)[len(*keys)-1] != key {
		*keys = append(*keys, key)
	}
}
