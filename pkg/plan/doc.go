// Package plan decides what must be done to turn what the kernel says (Observed)
// into what is wanted (Record). Diff is a pure function: the same input gives the same
// plan. It reads no clock, does no I/O and logs nothing; what depends on time or history
// comes in as a Hint.
//
// Plans are made in steps: Diff names the actions that can be done now, and whoever
// applies them observes again and asks again. On any state of the kernel that
// comes to an end after a bounded number of rounds, with nothing left to do.
package plan
