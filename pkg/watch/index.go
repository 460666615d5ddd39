package watch

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// noNSID is the value for a netns without an ID, or with an unknown one.
const noNSID int32 = -1

// index maps events to keys. It is read-only once built.
type index struct {
	// self is the ID of the host's netns in itself; it mostly has none.
	self int32
	// ids has each sandbox's ID; noNSID if it is dead or could not be given one.
	ids       map[bond.Sandbox]int32
	sandboxes map[int32][]bond.Key
	devices   map[bond.PCIAddress]*device
	bonds     map[place]bond.Key
	keys      []bond.Key
	// unsubscribed has the living sandboxes that could not be given an ID, so that their events are not received.
	unsubscribed map[bond.Sandbox]bool
}

// place is where a link is.
type place struct{ nsid, index int32 }

// device is a PCI function with a netdev: a member or the PF of one.
type device struct {
	pci     bond.PCIAddress
	members []bond.Key
	onPF    []bond.Key
}

// newIndex builds an index. nsid returns the ID of a sandbox's netns, noNSID if the sandbox is dead, or an error. It is
// called once per sandbox.
func newIndex(records []*bond.Record, self int32, nsid func(bond.Sandbox) (int32, error)) *index {
	idx := &index{
		self:         self,
		ids:          make(map[bond.Sandbox]int32, len(records)),
		sandboxes:    make(map[int32][]bond.Key, len(records)),
		devices:      make(map[bond.PCIAddress]*device, 3*len(records)),
		bonds:        make(map[place]bond.Key, len(records)),
		keys:         make([]bond.Key, 0, len(records)),
		unsubscribed: map[bond.Sandbox]bool{},
	}
	for _, r := range records {
		idx.keys = append(idx.keys, r.Key)
		id, known := idx.ids[r.Sandbox]
		if !known {
			var err error
			if id, err = nsid(r.Sandbox); err != nil {
				id, idx.unsubscribed[r.Sandbox] = noNSID, true
			}
			idx.ids[r.Sandbox] = id
		}
		if id != noNSID {
			idx.sandboxes[id] = append(idx.sandboxes[id], r.Key)
			idx.bonds[place{id, int32(r.BondIndex)}] = r.Key //nolint:gosec // an ifindex; 0 is no link's
		}
		idx.addMembers(r)
	}
	return idx
}

// addMembers adds the record's members and their PFs.
func (idx *index) addMembers(r *bond.Record) {
	for i := range r.Members {
		m := &r.Members[i]
		idx.addDevice(m.PCI, func(d *device) *[]bond.Key { return &d.members }, r.Key)
		if m.VF != nil {
			idx.addDevice(m.VF.PF, func(d *device) *[]bond.Key { return &d.onPF }, r.Key)
		}
	}
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
	// The devices of a record are added one after the other, so a repetition is next to the first.
	if keys := list(d); len(*keys) == 0 || (*keys)[len(*keys)-1] != key {
		*keys = append(*keys, key)
	}
}

// covers reports whether events of everything that a record names lead to its key.
func (idx *index) covers(r *bond.Record) bool {
	id, known := idx.ids[r.Sandbox]
	if !known || id == noNSID || idx.bonds[place{id, int32(r.BondIndex)}] != r.Key { //nolint:gosec // an ifindex
		return false
	}
	for i := range r.Members {
		m := &r.Members[i]
		if m.PCI != "" && !slices.Contains(idx.device(m.PCI).members, r.Key) {
			return false
		}
		if m.VF != nil && m.VF.PF != "" && !slices.Contains(idx.device(m.VF.PF).onPF, r.Key) {
			return false
		}
	}
	return true
}

// device returns a PCI function; one without keys if the index does not have it.
func (idx *index) device(pci bond.PCIAddress) device {
	if d := idx.devices[pci]; d != nil {
		return *d
	}
	return device{}
}
