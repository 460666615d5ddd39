package bond

import "strings"

// SparePrefix begins the name of a link whose own is taken.
const SparePrefix = "bk-"

// SpareName is the name that the member gets in the pod while another link there has its own.
func (m *Member) SpareName() string { return SpareName(m.PCI, m.Name) }

// SpareName is a name for a link whose own is taken: "bk" and the PCI address, which no two VFs of a node share, or the end
// of its present name.
func SpareName(pci PCIAddress, name string) string {
	tag := strings.NewReplacer(":", "", ".", "").Replace(string(pci))
	if tag == "" {
		tag = strings.TrimPrefix(name, SparePrefix)
	}
	if extra := len(SparePrefix) + len(tag) - MaxIfNameLen; extra > 0 {
		tag = tag[extra:]
	}
	return SparePrefix + tag
}
