package linktest

import (
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Lack makes the kernel an older one, which does not know some options: it takes them without a word and
// tells nothing of them. A bond that was asked for with one of them is found out, and is not made.
func (f *Fake) Lack(options ...bond.Option) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lacks = options
}

func (f *Fake) lacking(opts bond.Options) error {
	for _, name := range opts.Names() {
		if slices.Contains(f.lacks, name) {
			return fmt.Errorf("%w: %s: this kernel does not know it; it came with Linux %s", bond.ErrUnsupported, name, bond.Lookup(name).Since)
		}
	}
	return nil
}
