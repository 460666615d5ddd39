//go:build kube

package monitoring

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

// reader is the service account of Prometheus in the manifests.
const reader = "bondkeeper-metrics-reader"

// startProxy runs the proxy of an agent's metrics with the rights in the manifests. It returns the proxy's address.
func startProxy(t *testing.T, upstream string) (addr string) {
	t.Helper()
	kubeconfig, err := cp.WriteKubeconfig("proxy", cp.AgentConfig(t, "proxy"))
	kit.Must(t, err)
	out := start(t, program, "metrics-proxy", "--listen=127.0.0.1:0", "--upstream="+upstream, "--kubeconfig="+kubeconfig, "--tls-dir="+t.TempDir())
	started := regexp.MustCompile(`"address":"([^"]+)"`)
	kit.Eventually(t, "the proxy to listen", func() bool { return started.MatchString(out.String()) })
	return started.FindStringSubmatch(out.String())[1]
}

// token is one of a service account in the agent's namespace.
func token(t *testing.T, account string) string {
	t.Helper()
	accounts := cp.Client().CoreV1().ServiceAccounts(kube.AgentNamespace)
	r, err := accounts.CreateToken(t.Context(), account, &authv1.TokenRequest{}, metav1.CreateOptions{})
	kit.Must(t, err)
	return r.Status.Token
}

// insecure does not verify certificates, as the PodMonitor does.
var insecure = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec // the server is the test's own
}}

// get requests url with a token, and returns the status and the body.
func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	kit.Must(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := insecure.Do(r)
	kit.Must(t, err)
	defer res.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(res.Body)
	kit.Must(t, err)
	return res.StatusCode, string(text)
}

// TestProxy: the proxy serves an agent's metrics over TLS only, and only with a token whose user may get /metrics. The
// API server decides, by the manifests' roles.
func TestProxy(t *testing.T) {
	addr := startProxy(t, startAgent(t))
	metrics := "https://" + addr + "/metrics"
	kit.Eventually(t, "503 without the rights of rbac.yaml", func() bool { status, _ := get(t, metrics, "x"); return status == http.StatusServiceUnavailable })
	cp.Apply(t, "manifests/components/monitoring/rbac.yaml")
	t.Cleanup(func() {
		_, err := cp.Kubectl(context.WithoutCancel(t.Context()), "delete", "--filename", component+"rbac.yaml")
		kit.Must(t, err)
	})
	own, other := token(t, reader), token(t, kube.AgentAccount)
	kit.Eventually(t, "the rights of rbac.yaml", func() bool { status, _ := get(t, metrics, own); return status == http.StatusOK })
	for _, c := range []struct {
		name, url, token string
		status           int
		body             string
	}{
		{"no token", metrics, "", http.StatusUnauthorized, "token is required"},
		{"a token of no user", metrics, "x", http.StatusUnauthorized, "token is required"},
		{"the token of a user without the right", metrics, other, http.StatusForbidden, "no right"},
		{"the token of a user with the right", metrics, own, http.StatusOK, "bondkeeper_bonds{"},
		{"the same token again", metrics, own, http.StatusOK, "bondkeeper_bonds{"},
		{"another path", "https://" + addr + "/healthz", own, http.StatusNotFound, ""},
	} {
		if status, body := get(t, c.url, c.token); status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, body, c.status, c.body)
		}
	}
	if res, err := http.Get("http://" + addr + "/metrics"); err == nil { // the server may also reset the connection
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %s, %v", res.Status, err)
		}
	}
	kit.Must(t, cp.PauseServer())
	if status, body := get(t, metrics, own); status != http.StatusOK {
		t.Errorf("while the API server does not respond: %d %s", status, body)
	}
	kit.Must(t, cp.ResumeServer())
	t.Run("Prometheus", func(t *testing.T) { scrapeProxy(t, addr, own) })
}

// scrapeProxy has a real Prometheus scrape the proxy, with the settings that the operator derives from the PodMonitor.
func scrapeProxy(t *testing.T, addr, token string) {
	file := filepath.Join(t.TempDir(), "token")
	kit.Must(t, os.WriteFile(file, []byte(token), 0o600))
	p := startPrometheus(t, jobs{{
		"job_name": "bondkeeper", "scheme": "https", "authorization": map[string]string{"credentials_file": file},
		"tls_config": map[string]bool{"insecure_skip_verify": true}, "static_configs": []any{map[string]any{"targets": []string{addr}}},
	}})
	p.await(t, `up{job="bondkeeper"} == 1`)
	p.await(t, `bondkeeper_bonds{state="Down"} == 1`)
}
