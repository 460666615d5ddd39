package walk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Op is an operation that a walk may contain.
type Op struct {
	Name string
	// Weight is how often the operation is drawn, compared with the others.
	Weight int
	// Args has, for each argument, the number of its values: 0 up to that.
	Args []int
}

// Step is an operation with its arguments.
type Step struct {
	Op   string
	Args []int
}

// String is the step in the form that Parse reads: "unbind 1 0".
func (s Step) String() string {
	words := []string{s.Op}
	for _, a := range s.Args {
		words = append(words, strconv.Itoa(a))
	}
	return strings.Join(words, " ")
}

// Format returns a sequence in the form that Parse reads.
func Format(steps []Step) string {
	var texts []string
	for _, s := range steps {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, "; ")
}

// Draw returns the n steps of a seed.
func Draw(ops []Op, seed uint64, n int) []Step {
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a sequence that can be repeated
	total := 0
	for _, op := range ops {
		total += op.Weight
	}
	steps := make([]Step, n)
	for i := range steps {
		op := pick(ops, rng.IntN(total))
		steps[i].Op = op.Name
		for _, below := range op.Args {
			steps[i].Args = append(steps[i].Args, rng.IntN(below))
		}
	}
	return steps
}

// pick returns the operation that a number below the sum of all weights stands for.
func pick(ops []Op, number int) *Op {
	for i := range ops {
		if number -= ops[i].Weight; number < 0 {
			return &ops[i]
		}
	}
	panic("walk: a number above the sum of all weights")
}

// Parse reads a sequence that Format has written. Steps that the operations do not allow are an error: what was kept
// for an operation that has changed must be changed, too.
func Parse(ops []Op, text string) ([]Step, error) {
	var steps []Step
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		at := slices.IndexFunc(ops, func(op Op) bool { return op.Name == words[0] })
		if at < 0 || len(ops[at].Args) != len(words)-1 {
			return nil, fmt.Errorf("step %q: no such operation, or another number of arguments", strings.TrimSpace(part))
		}
		s := Step{Op: words[0]}
		for i, word := range words[1:] {
			n, err := strconv.Atoi(word)
			if err != nil || n < 0 || n >= ops[at].Args[i] {
				return nil, fmt.Errorf("step %q: argument %q: want a number below %d", strings.TrimSpace(part), word, ops[at].Args[i])
			}
			s.Args = append(s.Args, n)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// Stored reads sequences from the text of a file: one per line, empty lines and comments (#) excepted.
func Stored(ops []Op, text string) ([][]Step, error) {
	var all [][]Step
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		steps, err := Parse(ops, line)
		if err != nil {
			return nil, err
		}
		all = append(all, steps)
	}
	return all, nil
}

// Shrink removes steps from a sequence that fails, as long as it still fails, and returns what is left. It removes
// large parts first, then single steps, until no single step can be removed.
func Shrink(steps []Step, fails func([]Step) bool) []Step {
	size := max(1, len(steps)/2)
	for {
		removed := false
		for at := 0; at < len(steps); {
			fewer := slices.Delete(slices.Clone(steps), at, min(at+size, len(steps)))
			if fails(fewer) {
				steps, removed = fewer, true
				continue
			}
			at += size
		}
		if size == 1 && !removed {
			return steps
		}
		if size > 1 {
			size /= 2
		}
	}
}
