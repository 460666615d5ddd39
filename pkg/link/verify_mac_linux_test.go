package link

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestMACIsVerified: that a driver reported a MAC as set is no proof. No driver here reports success too early, so the
// link is read with a MAC that was never set.
func TestMACIsVerified(t *testing.T) {
	g := newFixture(t)
	l := g.veth(g.host, "ext0")
	host, err := g.k.openHost(t.Context())
	kit.Must(t, err)
	defer host.close()
	d, err := host.byIndex(l.Index, false)
	kit.Must(t, err)
	d.PCI = "0000:01:10.0" // only of a VF is the MAC checked
	kit.Must(t, host.ensureMAC(d, "02:00:00:00:00:07"))
	err = host.verifyMAC(d, "02:00:00:00:00:08")
	if err == nil || !strings.Contains(err.Error(), "still has 02:00:00:00:00:07") || !strings.Contains(err.Error(), "trust on") {
		t.Errorf("error %v, want the MAC that it has and what to do", err)
	}
}
