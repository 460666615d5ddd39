package kit

import (
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// KernelRelease is what uname -r prints.
func KernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		panic(err) // EFAULT only
	}
	return unix.ByteSliceToString(name.Release[:])
}

// RenamesUp reports whether the kernel renames links that are up.
func RenamesUp() bool { return bond.KernelAtLeast(KernelRelease(), "6.2") }
