// Package netnstest makes network namespaces for tests. It needs Linux and root, and is
// imported by tests only.
package netnstest
