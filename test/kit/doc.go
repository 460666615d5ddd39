// Package kit has what many tests need: errors that end a test, conditions that are awaited, network namespaces and links
// that are changed with ip(8) as an administrator does, and VFs that lose and get their driver.
//
// The package is for tests only.
package kit
