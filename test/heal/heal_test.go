package heal

import (
	"bytes"
	"os"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The demo's config is the one that the plugin's own tests have from the OKD page.
func TestConfigMatchesOKDPage(t *testing.T) {
	page, err := os.ReadFile("../../pkg/cni/testdata/okd.json")
	kit.Must(t, err)
	if !bytes.Equal(page, okdConfig) {
		t.Error("testdata/okd.json differs from pkg/cni/testdata/okd.json")
	}
}
