package manifests

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The example's config is the one that the plugin is tested with, which is that of the OKD page.
func TestExampleIsTheOKDPage(t *testing.T) {
	text, err := os.ReadFile("../../manifests/examples/bond-net1.yaml")
	kit.Must(t, err)
	var network struct {
		Spec struct{ Config string }
	}
	if err = yaml.Unmarshal(text, &network); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../heal/testdata/okd.json")
	kit.Must(t, err)
	var want, have any
	kit.Must(t, json.Unmarshal(page, &want))
	kit.Must(t, json.Unmarshal([]byte(network.Spec.Config), &have))
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}
