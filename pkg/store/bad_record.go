package store

import (
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The classes of unusable record files.
var (
	// ErrDamaged: the content is not a record of the bond in the file's name.
	ErrDamaged = errors.New("damaged")
	// ErrNewer: the file has a newer format than this program knows.
	ErrNewer = errors.New("written by a newer version")
)

// BadRecord is an unusable record file, quarantined or not. It is an error. It matches what Err matches, and
// bond.ErrNotFound for ErrDamaged and ErrNewer: for this program there is no such record.
type BadRecord struct {
	// Key is the bond in the file's name; zero if the name has none.
	Key bond.Key
	// Path is the file's current path.
	Path string
	// Err matches ErrDamaged or ErrNewer, or is the error of reading the file.
	Err error
}

// Error implements error.
func (p *BadRecord) Error() string { return fmt.Sprintf("record file %q: %v", p.Path, p.Err) }

// Unwrap returns Err.
func (p *BadRecord) Unwrap() error { return p.Err }

// Is implements the match with bond.ErrNotFound.
func (p *BadRecord) Is(target error) bool {
	return target == bond.ErrNotFound && (errors.Is(p.Err, ErrDamaged) || errors.Is(p.Err, ErrNewer))
}
