package kube

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The parts of an agent's rights. The policies restrict what the account may do.
var (
	accountManifests = []string{"manifests/base/namespace.yaml", "manifests/base/serviceaccount.yaml", "manifests/base/rbac.yaml"}
	policyManifest   = "manifests/base/admission.yaml"
)

// InstallRights gives all agents the rights in manifests/base, and returns when they are in effect.
func (c *ControlPlane) InstallRights(t testing.TB) {
	t.Helper()
	c.installAccount(t)
	c.installPolicy(t)
}

// installAccount gives the agents what RBAC allows them, without the policies' restrictions.
func (c *ControlPlane) installAccount(t testing.TB) {
	t.Helper()
	c.Apply(t, accountManifests...)
	c.awaitProbe(t, "RBAC lets the agent make events", func(err error) bool { return err == nil || rejectedByPolicy(err) })
}

// installPolicy creates the admission policies. The API server activates them some time after they are stored, all
// stored ones at once, and the policy on events is stored last.
func (c *ControlPlane) installPolicy(t testing.TB) {
	t.Helper()
	c.Apply(t, policyManifest)
	c.awaitProbe(t, "the admission policy rejects an agent without a node", rejectedByPolicy)
}

func rejectedByPolicy(err error) bool {
	return apierrors.IsInvalid(err) && strings.Contains(err.Error(), "bondkeeper-agent-events")
}

// awaitProbe repeats a dry run of creating an event, as an agent whose credentials name no node, until the response is
// as expected.
func (c *ControlPlane) awaitProbe(t testing.TB, what string, ok func(error) bool) {
	t.Helper()
	agent, err := kubernetes.NewForConfig(c.As("system:serviceaccount:"+AgentNamespace+":"+AgentAccount, "system:authenticated"))
	kit.Must(t, err)
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "probe"},
		InvolvedObject: corev1.ObjectReference{Namespace: AgentNamespace},
	}
	ctx, cancel := context.WithTimeout(t.Context(), readyIn)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := agent.CoreV1().Events(AgentNamespace).Create(t.Context(), event, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if ok(err) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s it is not so that %s: %v", readyIn, what, err)
		}
	}
}
