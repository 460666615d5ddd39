//go:build lab

package watch

// labHost says that the tests need the guest's own netns, where its VFs are.
const labHost = true
