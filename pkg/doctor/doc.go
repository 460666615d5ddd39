// Package doctor checks what the agent and the plugin need from a node, and reports what is missing and the remedy.
//
// It repairs nothing. What it makes for a check (a netns with a bond, a file in the state directory) is removed before
// the check returns.
package doctor
