package store

import (
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The classes of files that are no records.
var (
	// ErrDamaged: no program can read the file as the record that its name promises.
	ErrDamaged = errors.New("damaged")
	// ErrNewer: the file has a newer format than this program knows.
	ErrNewer = errors.New("written by a newer version")
)

// Problem is a file on a record's name, or set aside from one, that is no record. It
// is an error, which matches what Err does and, for ErrDamaged and ErrNewer,
// bond.ErrNotFound: for this program there is no such record.
type Problem struct {
	// Key is whose record it would be; zero when not even the name says it.
	Key bond.Key
	// Path is where the file is now.
	Path string
	// Err matches ErrDamaged or ErrNewer, or is why the file could not be read at all.
	Err error
}

// Error says which file, what is wrong with it and what becomes of it.
func (p *Problem) Error() string { return fmt.Sprintf("record file %q: %v", p.Path, p.Err) }

// Unwrap is Err.
func (p *Problem) Unwrap() error { return p.Err }

// Is implements the match with bond.ErrNotFound.
func (p *Problem) Is(target error) bool {
	return target == bond.ErrNotFound && (errors.Is(p.Err, ErrDamaged) || errors.Is(p.Err, ErrNewer))
}
