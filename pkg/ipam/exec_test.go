package ipam

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestIPAMOutput: for any output of an IPAM plugin, the error has a bounded size, the plugin's code if there was one,
// and all known details.
func TestIPAMOutput(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	for _, tt := range []struct {
		name, script string
		code         uint
		texts        []string
	}{
		{"CNI error", `echo '{"code":11,"msg":"pool is busy","details":"10.0.0.0/24"}'; exit 1`, 11, []string{"IPAM p DEL", "pool is busy"}},
		{"long CNI error", `printf '{"code":11,"msg":"'; head -c 500000 /dev/zero | tr '\0' x; echo '"}'; exit 1`, 11, []string{"xxx", "…"}},
		{"endless output", `yes`, types.ErrTryAgainLater, []string{"no answer"}},
		{"endless output, then the end", `yes | head -c 30000000; exit 1`, types.ErrInternal, []string{"exit status 1", "y y y"}},
		{"standard error", `echo out of order >&2; exit 3`, types.ErrInternal, []string{"exit status 3", "out of order"}},
		{"long standard error", `echo "` + long[:60000] + `" >&2; exit 3`, types.ErrInternal, []string{"exit status 3", "…"}},
		{"nothing", `exit 4`, types.ErrInternal, []string{"exit status 4", "nothing"}},
		{"signal", `kill -9 $$`, types.ErrInternal, []string{"killed"}},
		{"JSON that is no error", `echo '{}'; exit 1`, types.ErrInternal, []string{"exit status 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "p"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			timeout := time.Minute
			if tt.code == types.ErrTryAgainLater && tt.script == "yes" {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := (&Client{}).Release(ctx, &bond.Record{CNI: bond.CNI{Path: dir, Config: []byte(`{"name":"n","ipam":{"type":"p"}}`)}})
			cnitest.WantError(t, err, tt.code, tt.texts...)
			if err != nil && len(err.Error()) > 4*maxError {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}
