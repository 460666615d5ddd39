package heal

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/faults"
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

// TestTimelineSVG: the picture is well-formed, has a mark for each ping and event, and all texts.
func TestTimelineSVG(t *testing.T) {
	line := Timeline{
		Fault: "unbound", Return: "bound <again>", Returned: time.Second, End: 2 * time.Second,
		Pings:  []Ping{{At: 0}, {At: time.Second, Lost: true}, {At: 2 * time.Second}},
		Kernel: []time.Duration{time.Millisecond},
		Agent:  []Moment{{100 * time.Millisecond, "member lost: net1"}, {1500 * time.Millisecond, "applied: a & b"}},
	}
	var b bytes.Buffer
	kit.Must(t, line.WriteSVG(&b))
	marks, texts := map[string]int{}, ""
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		kit.Must(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			marks[token.Name.Local]++
			for _, a := range token.Attr {
				marks[a.Value]++
			}
		case xml.CharData:
			texts += string(token)
		}
	}
	if marks["circle"] != 2 || marks["#2a8a4a"] != 2 || marks["#d02020"] != 1 || marks["#4060c0"] != 1 {
		t.Errorf("marks %v", marks)
	}
	for _, want := range []string{"unbound", "bound <again>", "everything as before", "0.10 s  member lost: net1", "1.50 s  applied: a & b"} {
		if !strings.Contains(texts, want) {
			t.Errorf("no text %q in %q", want, texts)
		}
	}
}

// TestEveryRowIsPlayed: a row of the catalogue has steps, or a function here; and the engine's test that it names
// exists.
func TestEveryRowIsPlayed(t *testing.T) {
	rows := 0
	for _, f := range faults.Rows() {
		if (special[f.Name] == nil) != (f.Special == "") || (len(f.Steps) > 0) == (f.Special != "") {
			t.Errorf("%s: %d steps, special for the reason %q", f.Name, len(f.Steps), f.Special)
		}
		if f.Special != "" {
			rows++
		}
		if f.Engine != "" && exec.Command("grep", "-rq", "^func "+f.Engine+"(", "../../pkg/reconcile").Run() != nil { //nolint:gosec // a constant
			t.Errorf("%s: the engine has no %s", f.Name, f.Engine)
		}
	}
	if rows != len(special) {
		t.Errorf("%d functions for %d special rows", len(special), rows)
	}
}
