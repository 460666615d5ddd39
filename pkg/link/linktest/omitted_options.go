package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// OmitOptions makes the kernel an older one without some options: it silently ignores and does not report them.
func (f *Fake) OmitOptions(options ...bond.Option) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.omitted = options
}

// verifyOptions returns an error if an option of a bond that was just created is not reported as requested.
func (b *bonding) verifyOptions(requested bond.Options) error {
	reported, requested := b.reported(), requested.Effective()
	for _, name := range requested.Names() {
		d := bond.LookupOption(name)
		value, known := reported[name]
		switch {
		case d.Kind == bond.KindLink || known && value == requested[name]:
		case !known:
			return fmt.Errorf("%w: %s: this kernel does not support it; Linux %s and newer do", bond.ErrUnsupported, name, d.Since)
		default:
			return fmt.Errorf("%w: %s: the kernel accepted %q but has %q", bond.ErrUnsupported, name, requested[name], value)
		}
	}
	return nil
}
