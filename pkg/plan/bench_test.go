package plan_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func observed(b *testing.B, w *scenario.Node) plan.Input {
	b.Helper()
	obs, err := w.Observe(b.Context(), w.Record)
	kit.Must(b, err)
	return plan.Input{Record: w.Record, Observed: obs}
}

// BenchmarkDiff plans for a bond that is as it should be, and for one that has lost a member.
func BenchmarkDiff(b *testing.B) {
	for _, c := range []struct {
		name   string
		damage func(*scenario.Node) error
	}{
		{"healthy", func(*scenario.Node) error { return nil }},
		{"member released", func(w *scenario.Node) error { return w.Release(scenario.PodPath, "net1") }},
		{"VF in the host", func(w *scenario.Node) error { return w.MoveToHost(scenario.PodPath, "net1") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := scenario.New(bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"})
			in := observed(b, w)
			for p := plan.Diff(in); p.Verdict == plan.Act; p = plan.Diff(in) {
				for _, a := range p.Actions {
					kit.Must(b, w.Apply(b.Context(), w.Record, a))
				}
				in = observed(b, w)
			}
			kit.Must(b, c.damage(w))
			in = observed(b, w)
			b.ReportAllocs()
			for b.Loop() {
				plan.Diff(in)
			}
		})
	}
}
