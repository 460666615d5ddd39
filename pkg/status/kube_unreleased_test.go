//go:build kube

package status_test

import (
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestKubeUnreleased: the agent's rights and the admission policy allow the event of addresses that remain allocated,
// on a pod that ends.
func TestKubeUnreleased(t *testing.T) {
	c, _ := agent(t, "unreleased")
	r, _ := run(t, c)
	p := podOn(t, "p", "unreleased")
	b := bondOf(p, "bond0")
	b.State, b.Unreleased = bond.StateDeleting, "IPAM dhcp DEL: error dialing DHCP daemon"
	r.Report(b)
	await(t, "the event", func() bool { return slices.Equal(reasonsOn(t, p), []string{status.EventUnreleased}) })
}
