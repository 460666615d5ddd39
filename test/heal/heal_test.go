package heal

import (
	"bytes"
	"os"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The demo uses the same config of the OKD page as the plugin's own tests.
func TestConfigMatchesOKDPage(t *testing.T) {
	page, err := os.ReadFile("../../pkg/cni/testdata/okd.json")
	kit.Must(t, err)
	if !bytes.Equal(page, okdConfig) {
		t.Error("testdata/okd.json differs from pkg/cni/testdata/okd.json")
	}
}
