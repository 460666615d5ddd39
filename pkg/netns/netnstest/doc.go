// Package netnstest makes network namespaces for tests. It needs Linux and root, and is for tests only.
package netnstest
