//go:build !amd64

package lab

// tscKHz returns 0: the guest measures it itself.
func tscKHz() uint64 { return 0 }
