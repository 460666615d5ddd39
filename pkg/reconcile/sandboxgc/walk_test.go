package sandboxgc_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// walk is a node with random events. It has the truth in addition to the runtime's reports.
type walk struct {
	*node
	rng  *rand.Rand
	has  map[string]bool      // the runtime has it
	gone map[string]time.Time // when the later of netns and sandbox was gone
	made int
}

// step makes one change to the node.
func (w *walk) step() {
	ids := slices.Sorted(maps.Keys(w.records))
	id := ids[w.rng.IntN(len(ids))]
	path := "/run/netns/" + id
	switch w.rng.IntN(9) {
	case 0:
		w.made++
		id = fmt.Sprint("pod", w.made)
		w.pod(id)
		w.has[id] = true
	case 1, 2:
		if id != "other" {
			w.alive[path] = false
		}
	case 3, 4:
		if id != "other" {
			w.has[id] = false
		}
	case 5:
		w.err = []error{nil, errors.New("away")}[w.rng.IntN(2)]
	case 6:
		w.hangs = w.rng.IntN(3) == 0
	case 7:
		w.wake()
	case 8: // it restarts and has loaded nothing yet
		w.listed = nil
		return
	}
	w.truth()
}

// truth makes the runtime report what it has, and records what is gone now.
func (w *walk) truth() {
	w.listed = nil
	for id := range w.records {
		if w.has[id] {
			w.listed = append(w.listed, id)
		}
		if _, known := w.gone[id]; !known && !w.has[id] && !w.alive["/run/netns/"+id] {
			w.gone[id] = time.Now()
		}
	}
}

// check fails unless everything released had been gone for the complete period.
func (w *walk) check() {
	for id, at := range w.released {
		since, gone := w.gone[id]
		if !gone || w.began.Add(at).Sub(since) < grace {
			w.t.Fatalf("%s was released at %s; gone: %t, since %s", id, at, gone, since.Sub(w.began))
		}
	}
}

func TestRandomWalk(t *testing.T) {
	released := 0
	for seed := range uint64(30) {
		n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
			w := &walk{node: n, rng: rand.New(rand.NewPCG(seed, 1)), has: map[string]bool{"pod": true, "other": true}, gone: map[string]time.Time{}} //nolint:gosec // a walk that can be repeated
			for range 200 {
				w.step()
				pass(time.Duration(w.rng.Int64N(int64(3 * time.Minute))))
				w.check()
			}
			w.err, w.hangs = nil, false
			w.truth()
			pass(grace + 2*time.Minute)
			w.check()
			for id := range w.gone {
				if _, done := n.released[id]; !done {
					t.Errorf("seed %d: %s is gone and was not released", seed, id)
				}
			}
		})
		released += len(n.released)
	}
	if released < 300 {
		t.Errorf("%d bonds were released in all the walks: they prove little", released)
	}
}
