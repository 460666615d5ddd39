// Package cnitest provides the reference plugins of the containernetworking project, as real binaries, and scenarios to
// tests of the CNI plugin.
//
// The package is for tests only.
package cnitest
