package status_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestLateStart: at the start of the agent its directory cannot be made, and then its token cannot be read. What was
// reported meanwhile is sent soon after both can be used.
func TestLateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newServer(t), podN(1)
		s.add(p)
		obstacle := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var readable atomic.Bool
		r, _ := run(t, status.Config{
			Node: "node-a", Dir: filepath.Join(obstacle, "reported"), Log: zap.NewNop(),
			GetAPI: func() (*rest.Config, error) {
				if !readable.Load() {
					return nil, errors.New("no token")
				}
				return s.config(), nil
			},
		})
		r.Report(bondOf(p, "bond0"))
		pass(time.Hour)
		readable.Store(true)
		pass(time.Hour)
		wantCalls(t, s, 0, 0)
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		wantCalls(t, s, 1, 1)
	})
}
