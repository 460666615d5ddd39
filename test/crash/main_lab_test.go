//go:build lab

package crash

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if code, ran := Main(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
