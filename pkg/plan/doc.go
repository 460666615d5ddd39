// Package plan decides which actions turn the state in the kernel (Observed) into the desired state (Record). Diff is a
// pure function: the same input results in the same plan. It reads no clock, does no I/O and logs nothing. What depends
// on time or history is passed in as a Hint.
//
// Plans are made in steps: Diff returns the actions that can be done now. The caller applies them, observes again and
// calls Diff again. From any state of the kernel this ends after a bounded number of rounds, with nothing left to do.
package plan
