// Package link is the way to the kernel: it reads a pod bond (Kernel.Observe) and makes
// one change of it at a time (Kernel.Apply) over rtnetlink, and asks and tells PFs
// what they keep for their VFs.
//
// The package decides nothing and remembers nothing: what is to be done comes from
// package plan, and every change is preceded by a look at whether the link is still the one that
// the plan was made for. It leaves no netns and no socket open between calls, because
// each would keep a dead pod's netns, and the VFs in it, from coming back. It must not
// import packages reconcile or store, and enters a netns only through package netns.
package link
