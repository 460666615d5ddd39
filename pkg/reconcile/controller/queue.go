package controller

import (
	"sync"

	"k8s.io/client-go/util/workqueue"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// maxOvertaken is how many repairs in a row may overtake a verification that waits: a pod that makes its bond need
// repairs all the time must not keep others from being reported as repaired.
const maxOvertaken = 16

// repairsFirst is a queue in which repairs overtake verifications. In a storm all bonds are repaired before the first
// repair is verified. Its methods are safe for concurrent use.
type repairsFirst struct {
	mu sync.Mutex
	// unverified are the bonds whose next reconcile is a verification, whatever requests it: most events then are those
	// of the repair itself.
	unverified     map[bond.Key]bool
	repairs, later []bond.Key
	// taken are verifications that were popped.
	taken     map[bond.Key]bool
	overtaken int
}

var _ workqueue.Queue[bond.Key] = (*repairsFirst)(nil)

func newRepairsFirst() *repairsFirst {
	return &repairsFirst{unverified: map[bond.Key]bool{}, taken: map[bond.Key]bool{}}
}

// verifyLater makes the next reconcile of a bond a verification.
func (q *repairsFirst) verifyLater(k bond.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unverified[k] = true
}

// Touch does nothing: a bond that waits stays where it is.
func (q *repairsFirst) Touch(bond.Key) {}

// Push appends a bond.
func (q *repairsFirst) Push(k bond.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.unverified[k] {
		delete(q.unverified, k)
		q.later = append(q.later, k)
		return
	}
	q.repairs = append(q.repairs, k)
}

// Len returns the number of bonds that wait.
func (q *repairsFirst) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.repairs) + len(q.later)
}

// Pop removes the next bond. There must be one.
func (q *repairsFirst) Pop() (k bond.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := &q.repairs
	if len(q.repairs) == 0 || len(q.later) > 0 && q.overtaken >= maxOvertaken {
		from, q.overtaken = &q.later, 0
	} else if len(q.later) > 0 {
		q.overtaken++
	}
	k, *from = (*from)[0], (*from)[1:]
	if from == &q.later {
		q.taken[k] = true
	}
	return k
}

// verifies reports whether the reconcile of a bond that was popped is a verification.
func (q *repairsFirst) verifies(k bond.Key) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	is := q.taken[k]
	delete(q.taken, k)
	return is
}
