package install

import (
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
)

// FuzzVersions: any response to VERSION is an error that can be logged, or a list of versions.
func FuzzVersions(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.1.0"]}`))
	f.Add([]byte(`{"supportedVersions":[]}`))
	f.Add([]byte(`{"supportedVersions":"1.1.0"}`))
	f.Add([]byte("usage: \x1b[1mplugin " + strings.Repeat("\u202e", 1000)))
	f.Fuzz(func(t *testing.T, printed []byte) {
		about, err := parseVersions(printed)
		bondtest.ErrorText(t, err)
		if (err == nil) != (len(about.CNI) > 0) || about.Version != "" {
			t.Fatalf("%+v, %v", about, err)
		}
	})
}

// TestOutputIsBounded: endless output of a program costs a bounded amount of memory.
func TestOutputIsBounded(t *testing.T) {
	var o output
	part := slices.Repeat([]byte("x"), 1000)
	for range 1000 {
		if n, err := o.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(o.head) != maxOutput {
		t.Errorf("%d bytes are kept, want %d", len(o.head), maxOutput)
	}
}
