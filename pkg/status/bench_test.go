package status

import (
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// BenchmarkAnnotation encodes the annotation of a pod with one bond, and with so many that it must be shortened.
func BenchmarkAnnotation(b *testing.B) {
	for _, c := range []struct {
		name  string
		bonds []bond.Status
	}{
		{"one bond", []bond.Status{full("bond0")}},
		{"too many bonds", slices.Repeat([]bond.Status{full("bond0")}, 1000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				annotation(c.bonds)
			}
		})
	}
}
