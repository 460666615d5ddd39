package cni

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// withCNICode adds the code of the CNI specification, by which the runtime decides what to do. An error that wraps one
// with a code, such as an IPAM plugin's, gets that code. Its own text is kept: of a wrapping error the CNI library prints
// what is wrapped alone.
func withCNICode(err error) error {
	if err == nil {
		return nil
	}
	var coded *types.Error
	switch {
	case !errors.As(err, &coded):
		return types.NewError(codeOf(err), err.Error(), "")
	case error(coded) == err: //nolint:errorlint // whether it is wrapped
		return err
	}
	return types.NewError(coded.Code, err.Error(), "")
}

func codeOf(err error) uint {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, errDELStarted), errors.Is(err, bond.ErrLocked), errors.Is(err, bond.ErrBusy), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return types.ErrTryAgainLater
	case errors.Is(err, bond.ErrInvalid):
		return types.ErrInvalidNetworkConfig
	case errors.Is(err, bond.ErrUnsupported):
		return types.ErrUnsupportedField
	case errors.As(err, &pathErr):
		return types.ErrIOFailure
	default:
		return types.ErrInternal
	}
}
