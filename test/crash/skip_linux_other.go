//go:build linux && !amd64

package crash

import "errors"

func skip(int, uint32) error { return errors.ErrUnsupported }
