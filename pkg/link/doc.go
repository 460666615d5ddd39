// Package link reads and changes links over rtnetlink, including PF-side VF settings. Kernel.Observe reads a pod bond,
// and Kernel.Apply makes one change of it.
//
// The package makes no decisions: package plan does. Before each change it checks that the link is still the one for
// which the plan was made. It leaves no netns and no socket open between calls, because each would keep the netns of a
// dead pod, and the VFs in it, alive. It must not import packages reconcile or store, and enters a netns only through
// package netns.
package link
