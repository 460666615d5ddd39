package heal

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// feed is a growing list that readers can wait on. It is safe for concurrent use.
type feed[T any] struct {
	mu    sync.Mutex
	items []T
	grown chan struct{} // closed when the next item is added; nil while no reader waits
}

// add appends an item and wakes all readers.
func (f *feed[T]) add(item T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, item)
	if f.grown != nil {
		close(f.grown)
		f.grown = nil
	}
}

// len returns the number of items.
func (f *feed[T]) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.items)
}

// from returns the items from a place on.
func (f *feed[T]) from(place int) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.items[min(place, len(f.items)):])
}

// next returns a channel that is closed when there are more items than seen.
func (f *feed[T]) next(seen int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.items) > seen {
		c := make(chan struct{})
		close(c)
		return c
	}
	if f.grown == nil {
		f.grown = make(chan struct{})
	}
	return f.grown
}

// await returns the first matching item from a place on, and the place after it.
func (f *feed[T]) await(ctx context.Context, place int, match func(T) bool) (T, int, error) {
	for {
		for _, item := range f.from(place) {
			place++
			if match(item) {
				return item, place, nil
			}
		}
		select {
		case <-f.next(place):
		case <-ctx.Done():
			var none T
			return none, place, context.Cause(ctx)
		}
	}
}

// errWaited describes a wait that failed.
func errWaited(what string, err error) error { return fmt.Errorf("waited for %s: %w", what, err) }
