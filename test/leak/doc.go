// Package leak checks that the tests of a package leave no goroutine and no file descriptor behind.
package leak
