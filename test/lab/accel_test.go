package lab

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestTryAccel tries an accelerator that works, and twice a QEMU that does not.
func TestTryAccel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip(err)
	}
	cache, err := DefaultCacheDir(t.Context())
	kit.Must(t, err)
	k, err := findKernel(cache)
	if err != nil {
		t.Skip(err)
	}
	image, err := k.image()
	kit.Must(t, err)
	for _, c := range []struct {
		name, qemu string
		limit      time.Duration
		works      bool
		found      string
	}{
		{"works", qemu, time.Minute, true, "booted a kernel"},
		{"takes too long", qemu, 10 * time.Millisecond, false, "boots no kernel within 10ms"},
		{"ends at once", "false", time.Minute, false, "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			works, found, err := tryAccel(t.Context(), TCG, c.limit, &Config{QEMU: c.qemu}, k, image)
			if err != nil || works != c.works || !strings.Contains(found, c.found) {
				t.Errorf("%v, %q, %v; want %v, %q", works, found, err, c.works, c.found)
			}
		})
	}
}
