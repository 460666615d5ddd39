//go:build !lab

package watch

// labHost: the tests need the guest's own netns, where its VFs are.
const labHost = false
