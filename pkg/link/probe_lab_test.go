//go:build lab

package link_test

import (
	"os/exec"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The kernel has the options of its version, and perhaps newer ones, and loads the driver for the probe. Nothing is left
// behind.
func TestProbe(t *testing.T) {
	_ = exec.Command("rmmod", "bonding").Run() // fails if a bond uses it
	here, err := netns.Current()
	kit.Must(t, err)
	defer func() { _ = here.Close() }()
	unknown, err := link.Probe(t.Context())
	kit.Must(t, err)
	for _, d := range bond.OptionDefs() {
		if slices.Contains(unknown, d.Name) && bond.KernelAtLeast(kit.KernelRelease(), d.Since) {
			t.Errorf("Linux %s has no %v; %s is since %s", kit.KernelRelease(), unknown, d.Name, d.Since)
		}
	}
	now, err := netns.Current()
	kit.Must(t, err)
	defer func() { _ = now.Close() }()
	if now.ID() != here.ID() {
		t.Errorf("the caller is in %s now, was in %s", now.ID(), here.ID())
	}
	if out, err := exec.Command("ip", "-d", "link", "show", "dev", "probe").CombinedOutput(); err == nil {
		t.Errorf("left in the host: %s", out)
	}
}
