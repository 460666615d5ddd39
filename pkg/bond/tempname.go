package bond

import "strings"

// TempNamePrefix begins the temporary name of a link whose own is taken.
const TempNamePrefix = "bk-"

// TempName is the name that the member gets in the pod while another link there has its own.
func (m *Member) TempName() string { return TempName(m.PCI, m.Name) }

// TempName is a name for a link whose own is taken: "bk" and the PCI address, which no two VFs of a node share, or the
// end of its present name.
func TempName(pci PCIAddress, name string) string {
	tag := strings.NewReplacer(":", "", ".", "").Replace(string(pci))
	if tag == "" {
		tag = strings.TrimPrefix(name, TempNamePrefix)
	}
	if extra := len(TempNamePrefix) + len(tag) - MaxIfNameLen; extra > 0 {
		tag = tag[extra:]
	}
	return TempNamePrefix + tag
}
