// Package watch turns everything that can concern a pod bond into the keys of the
// bonds concerned: link, address and route events of every pod with a bond and of the
// host, the end of a sandbox, a changed record, lost events, and time.
//
// An event is a hint. The package hands out keys with a cause for the log and nothing
// else; whoever gets a key reads the state from the kernel again. It knows no wanted
// state, decides nothing, and changes nothing in the kernel except that it gives the
// netns of a recorded sandbox an ID, without which the kernel tells nothing of it. It keeps
// no netns alive: none of its descriptors refers to one for longer than the ID takes.
package watch
