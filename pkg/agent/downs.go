package agent

import (
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Downs counts the events that showed a bond administratively down. It is safe for concurrent use; its zero value is
// empty.
type Downs struct {
	mu    sync.Mutex
	bonds map[bond.Key]uint64
}

// Add counts an event of a bond.
func (d *Downs) Add(k bond.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bonds == nil {
		d.bonds = map[bond.Key]uint64{}
	}
	d.bonds[k]++
}

// Count returns the number of a bond's events; 0 for one that is not known.
func (d *Downs) Count(k bond.Key) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bonds[k]
}

// Forget drops a bond.
func (d *Downs) Forget(k bond.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bonds, k)
}
