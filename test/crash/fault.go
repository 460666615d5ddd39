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

// The kinds of system calls that are counted.
const (
	Change  Kind = "change"  // an rtnetlink request that changes something
	Query   Kind = "query"   // an rtnetlink request for one object
	Dump    Kind = "dump"    // an rtnetlink request for all objects that match
	Setting Kind = "setting" // a file below /proc or /sys is opened for writing, or written
	Enter   Kind = "enter"   // setns
	Socket  Kind = "socket"
	Mount   Kind = "mount"
	Packet  Kind = "packet" // a packet to the neighbours
	File    Kind = "file"   // any other file is changed
	Execute Kind = "execute"
)

// Point is a system call that the program made or was about to make.
type Point struct {
	Kind Kind
	What string
}

func (p Point) String() string { return string(p.Kind) + ": " + p.What }

// How a fault is brought about.
type How string

// A program is killed before a system call, or that call fails.
const (
	// Kill counts those points only that outlive the process.
	Kill How = "kill"
	// Fail has the system call return the error, and nothing else.
	Fail How = "fail"
	// Refuse has the kernel do nothing with an rtnetlink request, and its answer have the error.
	Refuse How = "refuse"
	// Lose has the kernel do what an rtnetlink request asks for, and its answer have the error.
	Lose How = "lose"
	// Interrupt marks the answer to a dump as inconsistent, as the kernel does if objects change meanwhile.
	Interrupt How = "interrupt"
)

// Fault is what befalls a program under test.
type Fault struct {
	How How
	// At is the number of the point, from 1 on; 0 for no fault.
	At int
	// Kind is that of the point, if not empty: if the one with the number is of another kind, the fault waits for the next.
	Kind Kind
	// Errno is the error of Fail, Refuse and Lose.
	Errno uint32
}

// counts reports whether points of this kind are counted. Without a fault all are.
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
	// Points are those that count, in order. If the program was killed, the last one is that before which it was.
	Points []Point
	// Hit is the number of the point at which the fault occurred; 0 if it did not.
	Hit int
	// Err is the tracer's own error, which makes the rest worthless; empty if there is none.
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
