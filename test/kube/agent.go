package kube

import (
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// The agent's names in manifests/.
const (
	AgentNamespace = "bondkeeper"
	AgentAccount   = "bondkeeper-agent"
)

// nodeLabel marks the pods that AgentConfig makes.
const nodeLabel = "test.bondkeeper.io/node"

// AgentConfig is the API server config of a node's agent: its service account token is bound to a pod on that node, and
// so contains the node's name. It has no rights until InstallRights. Each call makes another agent.
func (c *ControlPlane) AgentConfig(t testing.TB, node string) *rest.Config {
	t.Helper()
	c.Namespace(t, AgentNamespace)
	c.account(t, AgentNamespace, AgentAccount)
	c.Node(t, node)
	meta := metav1.ObjectMeta{Namespace: AgentNamespace, GenerateName: AgentAccount + "-", Labels: map[string]string{nodeLabel: node}}
	pod := c.pod(t, meta, node, AgentAccount)
	return c.accountConfig(t, &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID})
}

// RevokeAgents deletes the pods to which the tokens of a node's agents are bound. The API server then rejects the
// tokens (401), like expired ones, which no test can wait for. It caches a valid token for ten seconds.
func (c *ControlPlane) RevokeAgents(t testing.TB, node string) {
	t.Helper()
	ofNode := metav1.ListOptions{LabelSelector: nodeLabel + "=" + node}
	err := c.client.CoreV1().Pods(AgentNamespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, ofNode)
	if err != nil {
		t.Fatalf("delete the agents' pods of node %s: %v", node, err)
	}
}

// accountConfig is an API server config with a token of the agent's service account; the token is bound to nothing if
// to is nil.
func (c *ControlPlane) accountConfig(t testing.TB, to *authv1.BoundObjectReference) *rest.Config {
	t.Helper()
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{BoundObjectRef: to}}
	token, err := c.client.CoreV1().ServiceAccounts(AgentNamespace).CreateToken(t.Context(), AgentAccount, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a token of the agent's service account: %v", err)
	}
	cfg := c.anonymous()
	cfg.BearerToken = token.Status.Token
	return cfg
}
