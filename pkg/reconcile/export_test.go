package reconcile

import (
	"context"
	"errors"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Release is ReleaseRecord for the record that a bond has now.
func (e *Engine) Release(ctx context.Context, k bond.Key) error {
	_, err := e.release(ctx, k, releaseMode{})
	if errors.Is(err, bond.ErrNotFound) {
		return nil
	}
	return err
}
