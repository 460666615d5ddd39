package bond

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The classes of error that decide what is done next. The code that calls the kernel wraps each of its errors in one of
// them, once. No code matches texts.
var (
	// ErrGone: the link, netns or PF is no longer there.
	ErrGone = errors.New("gone")
	// ErrStale: something is there, but not the link that the action names.
	ErrStale = errors.New("not the link that was planned for")
	// ErrBusy: the kernel or the driver cannot do it now, but may be able to later.
	ErrBusy = errors.New("busy")
	// ErrInUse is ErrBusy where another process or worker changes the same card. It is free again soon.
	ErrInUse = fmt.Errorf("%w: in use", ErrBusy)
	// ErrUnsupported: this kernel or driver will never do it.
	ErrUnsupported = errors.New("not supported")
	// ErrInvalid: the kernel rejects what the network config or IPAM asks for, and time does not change that.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: the store has no record of that key.
	ErrNotFound = errors.New("no such record")
	// ErrExists: the store has a record of that key already.
	ErrExists = errors.New("there is a record already")
	// ErrLocked: another process or worker held the bond's lock past the deadline.
	ErrLocked = errors.New("locked by another process")
)

// maxDecodeError bounds the text of a decoding error, in bytes.
const maxDecodeError = 200

// DecodeError returns a decoder's error with a bounded text. encoding/json repeats a number of the input in full, and
// the CNI library a version.
func DecodeError(err error) error { return errors.New(Printable(err.Error(), maxDecodeError)) }

// Printable makes a text from outside safe for a message: cut after size bytes, with '?' for unprintable characters.
func Printable(text string, size int) string {
	cut := ""
	if len(text) > size {
		text, cut = strings.ToValidUTF8(text[:size], ""), "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text) + cut
}
