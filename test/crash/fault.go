package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Kind is what a system call does.
type Kind string

// The kinds of system calls that count.
const (
	Change  Kind = "change"  // an rtnetlink request that changes something
	Query   Kind = "query"   // an rtnetlink request for one object
	Dump    Kind = "dump"    // an rtnetlink request for all objects that match
	Setting Kind = "setting" // a file in /proc or /sys is opened for writing, or written
	Enter   Kind = "enter"   // setns
	Socket  Kind = "socket"
	Mount   Kind = "mount"
	Packet  Kind = "packet" // a packet to the neighbours
	File    Kind = "file"   // any other file is changed
	Execute Kind = "execute"
	Open    Kind = "open" // any other file or directory is opened; only Count has these
)

// Point is a system call that the program made or was about to make.
type Point struct {
	Kind Kind
	What string
}

func (p Point) String() string { return string(p.Kind) + ": " + p.What }

// How is how a fault is caused.
type How string

// A program is killed before a system call, or the call fails.
const (
	// Kill counts only points whose effect outlives the process.
	Kill How = "kill"
	// Fail makes the system call return the error without any effect.
	Fail How = "fail"
	// Reject makes the kernel respond to an rtnetlink request with the error, without any effect.
	Reject How = "reject"
	// Lose makes the kernel execute an rtnetlink request and respond with the error.
	Lose How = "lose"
	// Count causes no fault, and also counts files that are opened for reading and sockets of every family.
	Count How = "count"
	// Interrupt marks the response to a dump as inconsistent, as the kernel does if objects change meanwhile.
	Interrupt How = "interrupt"
)

// Fault is a fault of a program under test.
type Fault struct {
	How How
	// At is the number of the point, from 1; 0 for no fault.
	At int
	// Kind, if not empty, is the kind of the point: if point At is of another kind, the fault waits for the next of
	// this kind.
	Kind Kind
	// Errno is the error of Fail, Reject and Lose.
	Errno uint32
}

// counts reports whether points of this kind are counted; without a fault all are.
func (f Fault) counts(k Kind) bool {
	outlives := []Kind{Change, Setting, File, Execute}
	return f.How != Kill || slices.Contains(outlives, k)
}

// due reports whether the fault occurs at the n-th point.
func (f Fault) due(n int, k Kind) bool {
	return f.At > 0 && n >= f.At && (f.Kind == "" || f.Kind == k)
}

// Report is what a tracer returns.
type Report struct {
	// Points are those that count, in order. If the program was killed, it was before the last one.
	Points []Point
	// Hit is the number of the point at which the fault occurred; 0 if it did not.
	Hit int
	// Err is the tracer's own error, which makes the rest invalid; empty if there is none.
	Err string
}

// hit is the point at which the fault occurred.
func (r Report) hit() Point { return r.Points[r.Hit-1] }

// ReadReport reads what a tracer wrote.
func ReadReport(path string) (r Report, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && r.Err != "" {
		err = errors.New(r.Err)
	}
	if err != nil {
		return r, fmt.Errorf("the tracer's report: %w", err)
	}
	return r, nil
}
