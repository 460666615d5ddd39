package doctor

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// TestOtherUser: the admission policy selects the agent's service account only. With another user, such as that of a
// kubeconfig, no node is needed, and the policy rejects nothing.
func TestOtherUser(t *testing.T) {
	for user, want := range map[string][2]Level{"admin": {Skip, Warn}, agentUser: {Fail, Warn}} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			object := `{"apiVersion":"v1","kind":"Event","metadata":{"namespace":"default","name":"e"},"involvedObject":{}}`
			if strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
				object = fmt.Sprintf(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview","status":{"userInfo":{"username":%q}}}`, user)
			}
			_, _ = io.WriteString(w, object)
		}))
		c := &Config{Node: "n", API: &rest.Config{Host: api.URL}}
		node, policy := apiNode(t.Context(), c), apiPolicy(t.Context(), c)
		if node.Level != want[0] || policy.Level != want[1] || strings.Contains(policy.Found, "does not apply to admin") != (user == "admin") {
			t.Errorf("%s: %+v, %+v", user, node, policy)
		}
		api.Close()
	}
}
