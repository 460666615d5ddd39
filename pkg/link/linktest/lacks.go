package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Lack makes the kernel an older one, which does not know some options: it takes them without a word and
// tells nothing of them.
func (f *Fake) Lack(options ...bond.Option) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lacks = options
}

// asAsked is the look at a bond that was just made: it is not kept when an option is not told, or told
// otherwise.
func (b *bonding) asAsked(asked bond.Options) error {
	told, asked := b.tell(), asked.Effective()
	for _, name := range asked.Names() {
		d := bond.LookupOption(name)
		value, known := told[name]
		switch {
		case d.Kind == bond.KindLink || known && value == asked[name]:
		case !known:
			return fmt.Errorf("%w: %s: this kernel does not support it; Linux %s and newer do", bond.ErrUnsupported, name, d.Since)
		default:
			return fmt.Errorf("%w: %s: the kernel accepted %q but has %q", bond.ErrUnsupported, name, asked[name], value)
		}
	}
	return nil
}
