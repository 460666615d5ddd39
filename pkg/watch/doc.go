// Package watch maps everything that can concern a pod bond to the keys of the bonds concerned: link, address and route
// events of the host and of every pod with a bond, the end of a sandbox, a changed record, lost events, and time.
//
// An event is a hint. The package enqueues keys with a cause for the log and nothing else; the worker that takes a key
// reads the state from the kernel again. The package knows no desired state and makes no decisions. Its only change in
// the kernel is that it gives the netns of a recorded sandbox an ID, without which the kernel sends no events of it. It
// keeps no netns alive: its descriptors refer to a netns only while the ID is assigned.
package watch
