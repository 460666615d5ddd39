package kit

import "golang.org/x/sys/unix"

// KernelRelease is what uname -r prints.
func KernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		panic(err) // EFAULT only
	}
	return unix.ByteSliceToString(name.Release[:])
}
