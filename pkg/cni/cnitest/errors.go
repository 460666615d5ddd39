package cnitest

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// WantError fails the test unless err has this code of the CNI specification and a text that contains each of parts.
func WantError(t testing.TB, err error, code uint, parts ...string) {
	t.Helper()
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a *types.Error with code %d", err, err, code)
	}
	if e.Code != code {
		t.Errorf("got code %d (%v), want %d", e.Code, e, code)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("error %q does not contain %q", e, part)
		}
	}
}
