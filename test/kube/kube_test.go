//go:build kube

package kube

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// shared is the control plane of all tests here that do not stop it.
var shared *ControlPlane

func TestMain(m *testing.M) { os.Exit(Main(m, &shared)) }

// client fails the test if the config cannot be used.
func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	kit.Must(t, err)
	return c
}

// An agent's token contains its node's name, on which the rights depend.
func TestAgentTokenCarriesNode(t *testing.T) {
	agent := client(t, shared.AgentConfig(t, "token-node"))
	review, err := agent.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authv1.SelfSubjectReview{}, metav1.CreateOptions{})
	kit.Must(t, err)
	user := review.Status.UserInfo
	if want := "system:serviceaccount:" + AgentNamespace + ":" + AgentAccount; user.Username != want {
		t.Errorf("the agent is %q, want %q", user.Username, want)
	}
	if node := user.Extra["authentication.kubernetes.io/node-name"]; len(node) != 1 || node[0] != "token-node" {
		t.Errorf("the token's node is %q in %v", node, user.Extra)
	}
}

// A stopped API server cannot be reached, a paused one does not respond, and afterwards everything is as before:
// address, objects, tokens.
func TestOutage(t *testing.T) {
	cp := Start(t)
	pod := cp.Pod(t, "outage", "p1", "node-a")
	agent := cp.AgentConfig(t, "node-a")
	get := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := client(t, cp.Config()).CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		return err
	}
	kit.Must(t, cp.PauseServer())
	if err := get(time.Second); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a paused API server responded: %v", err)
	}
	kit.Must(t, cp.ResumeServer())
	kit.Must(t, cp.StopServer())
	// The client repeats a request whose connection the server resets, which takes a while on a busy machine.
	if err := get(time.Minute); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a stopped API server responded: %v", err)
	}
	kit.Must(t, cp.StartServer(t.Context()))
	if err := get(time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := client(t, agent).Discovery().ServerVersion(); err != nil {
		t.Errorf("the agent's token after a restart of the API server: %v", err)
	}
}

// The kubeconfig is sufficient to reach the API server, also under the name that a guest of the lab uses.
func TestKubeconfig(t *testing.T) {
	cfg, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	kit.Must(t, err)
	for _, name := range []string{"127.0.0.1", GuestHost} {
		cfg.ServerName = name
		if _, err := client(t, cfg).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
}

// The tokens of a revoked agent are rejected like expired ones; those of other nodes are not.
func TestRevokeAgents(t *testing.T) {
	revoked, other := client(t, shared.AgentConfig(t, "revoked")), client(t, shared.AgentConfig(t, "not-revoked"))
	shared.RevokeAgents(t, "revoked")
	if _, err := revoked.Discovery().ServerVersion(); !apierrors.IsUnauthorized(err) {
		t.Errorf("with the token of a deleted pod: %v", err)
	}
	if _, err := other.Discovery().ServerVersion(); err != nil {
		t.Error(err)
	}
}

// With controllers a new namespace gets its service account.
func TestControllers(t *testing.T) {
	kit.Must(t, Start(t).StartControllers(t.Context()))
}
