package manifests

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// The example's config is the one that the plugin is tested with, which is that of the OKD page.
func TestExampleIsTheOKDPage(t *testing.T) {
	text, err := os.ReadFile("../../manifests/examples/bond-net1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var network struct {
		Spec struct{ Config string }
	}
	if err = yaml.Unmarshal(text, &network); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../heal/testdata/okd.json")
	if err != nil {
		t.Fatal(err)
	}
	var want, have any
	if err := json.Unmarshal(page, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(network.Spec.Config), &have); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
}
