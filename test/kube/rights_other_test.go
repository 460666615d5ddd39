//go:build kube

package kube

import (
	"context"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// otherAttempts are what an agent has no right to at all. {ns} is the fixture's namespace, {pod} the agent's own pod.
var otherAttempts = []attempt{
	request("read a pod", get, "/api/v1/namespaces/{ns}/pods/{pod}", "", `cannot get resource "pods"`),
	request("list pods", get, "/api/v1/pods", "", `cannot list resource "pods"`),
	request("watch pods", get, "/api/v1/pods?watch=1", "", `cannot watch resource "pods"`),
	request("read a pod's status", get, "/api/v1/namespaces/{ns}/pods/{pod}/status", "", `cannot get resource "pods/status"`),
	request("read a pod's log", get, "/api/v1/namespaces/{ns}/pods/{pod}/log", "", `cannot get resource "pods/log"`),
	request("make a pod", http.MethodPost, "/api/v1/namespaces/{ns}/pods", `{"metadata":{"name":"new"},"spec":{"containers":[{"name":"c","image":"i"}]}}`, `cannot create resource "pods"`),
	request("change a pod's spec", http.MethodPatch, "/api/v1/namespaces/{ns}/pods/{pod}", `{"spec":{"activeDeadlineSeconds":1}}`, `cannot patch resource "pods"`),
	request("annotate a pod", http.MethodPatch, "/api/v1/namespaces/{ns}/pods/{pod}", `{"metadata":{"annotations":{"bondkeeper.io/bonds":"x"}}}`, `cannot patch resource "pods"`),
	request("replace a pod's status", http.MethodPut, "/api/v1/namespaces/{ns}/pods/{pod}/status", `{}`, `cannot update resource "pods/status"`),
	request("resize a pod", http.MethodPatch, "/api/v1/namespaces/{ns}/pods/{pod}/resize", `{}`, `cannot patch resource "pods/resize"`),
	request("evict a pod", http.MethodPost, "/api/v1/namespaces/{ns}/pods/{pod}/eviction", `{}`, `cannot create resource "pods/eviction"`),
	request("run a command in a pod", http.MethodPost, "/api/v1/namespaces/{ns}/pods/{pod}/exec?command=id", "", `cannot create resource "pods/exec"`),
	request("delete a pod", http.MethodDelete, "/api/v1/namespaces/{ns}/pods/{pod}", "", `cannot delete resource "pods"`),
	request("delete all pods", http.MethodDelete, "/api/v1/namespaces/{ns}/pods", "", `cannot deletecollection resource "pods"`),
	request("read an event", get, "/api/v1/namespaces/{ns}/events/x", "", `cannot get resource "events"`),
	request("list events", get, "/api/v1/events", "", `cannot list resource "events"`),
	request("delete an event", http.MethodDelete, "/api/v1/namespaces/{ns}/events/x", "", `cannot delete resource "events"`),
	request("make an event of the other API", http.MethodPost, "/apis/events.k8s.io/v1/namespaces/{ns}/events", `{}`, `cannot create resource "events" in API group "events.k8s.io"`),
	request("read a node", get, "/api/v1/nodes/rights-a", "", `cannot get resource "nodes"`),
	request("list nodes", get, "/api/v1/nodes", "", `cannot list resource "nodes"`),
	request("change a node", http.MethodPatch, "/api/v1/nodes/rights-a", `{}`, `cannot patch resource "nodes"`),
	request("change a node's status", http.MethodPatch, "/api/v1/nodes/rights-a/status", `{}`, `cannot patch resource "nodes/status"`),
	request("list secrets", get, "/api/v1/secrets", "", `cannot list resource "secrets"`),
	request("read a secret of its namespace", get, "/api/v1/namespaces/bondkeeper/secrets/x", "", `cannot get resource "secrets"`),
	request("read a configmap of its namespace", get, "/api/v1/namespaces/bondkeeper/configmaps/x", "", `cannot get resource "configmaps"`),
	request("make a token", http.MethodPost, "/api/v1/namespaces/bondkeeper/serviceaccounts/bondkeeper-agent/token", `{}`, `cannot create resource "serviceaccounts/token"`),
	request("list namespaces", get, "/api/v1/namespaces", "", `cannot list resource "namespaces"`),
	request("lift the policy", http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/bondkeeper-agent-pods", "", `cannot delete resource "validatingadmissionpolicybindings"`),
	request("give itself rights", http.MethodPatch, "/apis/rbac.authorization.k8s.io/v1/clusterroles/bondkeeper-agent", `{}`, `cannot patch resource "clusterroles"`),
}

const get = http.MethodGet

// content is the body of a request with this verb.
var content = map[string]string{
	http.MethodPost: "application/json", http.MethodPut: "application/json", http.MethodPatch: string(types.StrategicMergePatchType),
}

// request is an attempt that RBAC rejects.
func request(name, verb, uri, body, text string) attempt {
	return attempt{name, func(ctx context.Context, s *fixture) error {
		path := strings.NewReplacer("{ns}", s.own.Namespace, "{pod}", s.own.Name).Replace(uri)
		r := s.agent.CoreV1().RESTClient().Verb(verb).RequestURI(path)
		if body != "" {
			r.Body([]byte(body)).SetHeader("Content-Type", content[verb])
		}
		return r.Do(ctx).Error()
	}, rbac, text}
}
