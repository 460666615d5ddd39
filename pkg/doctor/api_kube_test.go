//go:build kube

package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

// The doctor's results for a real API server: nothing installed, rights without the policy, everything installed,
// another node's token, and no API server.
func TestAPI(t *testing.T) {
	cp := kube.Start(t)
	c := &Config{Node: "node-a", API: cp.AgentConfig(t, "node-a")}
	levels := func(want, found string) {
		t.Helper()
		var have, text []string
		for _, k := range checks {
			if strings.HasPrefix(k.name, "api") {
				f := k.run(t.Context(), c)
				have, text = append(have, string(f.Level)), append(text, f.Found)
			}
		}
		if got := strings.Join(have, " "); got != want || !strings.Contains(strings.Join(text, "\n"), found) {
			t.Errorf("got %s, want %s and %q:\n%s", got, want, found, strings.Join(text, "\n"))
		}
	}
	levels("ok ok fail skip", "not allowed: patch pods/status, create events, patch events")
	cp.Apply(t, "manifests/base/rbac.yaml")
	for deadline := time.Now().Add(time.Minute); apiRights(t.Context(), c).Level != OK && time.Now().Before(deadline); {
		<-time.After(50 * time.Millisecond) // the API server activates it some time after it is stored
	}
	levels("ok ok ok warn", "not in force")
	cp.InstallRights(t)
	levels("ok ok ok ok", "the admission policy is in force")
	c.Node = "node-b"
	levels("ok fail ok ok", `the token is for node "node-a" and the agent is configured for node "node-b"`)
	kit.Must(t, cp.StopServer())
	levels("fail skip skip skip", "connection refused")
	c.API = nil
	levels("skip skip skip skip", "no API server is configured")
}
