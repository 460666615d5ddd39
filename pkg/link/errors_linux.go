package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// classes maps the kernel's errors to classes. Other errors (EPERM, EINVAL, …) need the user's attention.
var classes = map[unix.Errno]error{
	unix.ENODEV: bond.ErrGone,
	unix.ENXIO:  bond.ErrGone,
	unix.ENOENT: bond.ErrGone,
	unix.ESRCH:  bond.ErrGone,

	unix.EBUSY:     bond.ErrBusy,
	unix.EAGAIN:    bond.ErrBusy,
	unix.EINTR:     bond.ErrBusy,
	unix.ETIMEDOUT: bond.ErrBusy,
	unix.ENOBUFS:   bond.ErrBusy,
	unix.ENOMEM:    bond.ErrBusy,
	// Routes of a bond that is not up yet; addRoute handles those of one that is.
	unix.ENETDOWN:     bond.ErrBusy,
	unix.ENETUNREACH:  bond.ErrBusy,
	unix.EHOSTUNREACH: bond.ErrBusy,

	unix.EOPNOTSUPP:      bond.ErrUnsupported,
	unix.EPROTONOSUPPORT: bond.ErrUnsupported,
	unix.EAFNOSUPPORT:    bond.ErrUnsupported,
	unix.ENOSYS:          bond.ErrUnsupported,
}

// classify wraps an error of the kernel in its class, once.
func classify(err error) error {
	if err == nil || classified(err) {
		return err
	}
	if errors.Is(err, netns.ErrGone) {
		return fmt.Errorf("%w: %w", bond.ErrGone, err)
	}
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("%w: the links change faster than they can be read: %w", bond.ErrBusy, err)
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if class, known := classes[errno]; known {
			return fmt.Errorf("%w: %w", class, err)
		}
	}
	return err
}

func classified(err error) bool {
	for _, class := range []error{bond.ErrGone, bond.ErrStale, bond.ErrBusy, bond.ErrUnsupported, bond.ErrInvalid} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}
