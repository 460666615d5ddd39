package display_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/display"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

var update = flag.Bool("update", false, "write the expected texts")

// explained is the explanation of a bond on the fake kernel: of a bond that was lost and repaired, after a fault.
func explained(t *testing.T, fault func(*scenario.Node)) display.Explanation {
	t.Helper()
	records, err := store.Open(t.TempDir())
	must(t, err)
	n, clock := scenario.New(scenario.OKD()), now.Add(-time.Hour)
	n.Record.Addresses = []bond.Address{{Prefix: prefix("10.56.217.5/24")}}
	n.Record.Routes = []bond.Route{{Dst: prefix("192.168.0.0/16"), Gateway: prefix("10.56.217.1/32").Addr()}}
	must(t, records.Save(n.Record))
	engine := reconcile.New(reconcile.Config{Kernel: n.Fake, Store: records, Now: func() time.Time { return clock }})
	converge := func() {
		for range 10 {
			out, failed := engine.Converge(t.Context(), n.Record.Key)
			must(t, failed)
			clock = clock.Add(out.RetryAfter)
		}
	}
	converge()
	must(t, n.DeleteBond(n.Path(), scenario.BondIf))
	clock = now.Add(-10 * time.Minute)
	converge()
	fault(n)
	out, err := engine.Inspect(t.Context(), n.Record.Key)
	must(t, err)
	return display.Explain(&out)
}

// TestExplain compares the texts with those in testdata; -update writes them.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(*scenario.Node)
	}{
		{"ready", func(*scenario.Node) {}},
		{"lost", func(n *scenario.Node) { must(t, n.UnbindVF(n.VFs[0])) }},
		{"changed", func(n *scenario.Node) {
			must(t, n.SetOption(n.Path(), scenario.BondIf, bond.OptMiimon, "200"))
			must(t, n.SetMTU(n.Path(), scenario.BondIf, 1280))
			must(t, n.FlushAddresses(n.Path(), scenario.BondIf))
			must(t, n.SetDown(n.Path(), "net2"))
		}},
		{"deleted", func(n *scenario.Node) { must(t, n.DeleteBond(n.Path(), scenario.BondIf)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := explained(t, c.fault)
			var b strings.Builder
			must(t, e.WriteText(&b, display.Style{Now: now}))
			path := filepath.Join("testdata", c.name+".txt")
			if *update {
				must(t, os.WriteFile(path, []byte(b.String()), 0o600))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", &b, want)
			}
		})
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
