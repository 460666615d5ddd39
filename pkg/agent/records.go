package agent

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// ReadableRecords returns a function that lists the records that can be read. RecordLister logs the others.
func ReadableRecords(records *store.Store) func(context.Context) ([]*bond.Record, error) {
	return func(ctx context.Context) ([]*bond.Record, error) {
		list, _, err := records.List(ctx)
		return list, err
	}
}

// RecordLister returns a function that lists the records that can be read, logs the others, each once, and sets
// unreadable to their number. It is called from one goroutine at a time.
func RecordLister(ctx context.Context, records *store.Store, unreadable *atomic.Int64, log *zap.Logger) func() ([]*bond.Record, error) {
	logged := map[string]bool{}
	return func() ([]*bond.Record, error) {
		list, bad, err := records.List(ctx)
		if err != nil {
			return nil, err
		}
		unreadable.Store(int64(len(bad)))
		for _, p := range bad {
			if !logged[p.Path] {
				logged[p.Path] = true
				log.Error("record unreadable; its bond is not repaired", zap.String("bond", p.Key.String()), zap.Error(p))
			}
		}
		return list, nil
	}
}
