// Package kit has what many tests need: errors that end a test, waits for conditions, network namespaces and links that
// are changed with ip(8) as an administrator does, and VFs that are unbound and bound.
//
// The package is for tests only.
package kit
