package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/kubeapi"
)

// nodeClaim is the user info's key for the node that a token is bound to.
const nodeClaim = "authentication.kubernetes.io/node-name"

// agentUser is the user that the admission policies of manifests/base select.
const agentUser = "system:serviceaccount:bondkeeper:bondkeeper-agent"

const applyManifests = "apply manifests/base"

// api has the clients that are needed.
type api struct{ authn, authz, core rest.Interface }

// client returns nil and a finding if there is no API server.
func client(c *Config) (*api, Finding) {
	if c.APIError != nil {
		return nil, skip("the access to the API server cannot be configured")
	}
	if c.API == nil {
		return nil, skip("no API server is configured: bonds are reported in the log, in agent status and in the metrics")
	}
	cfg := rest.CopyConfig(c.API)
	cfg.Timeout = checkTimeout
	var k api
	var errs [3]error
	k.authn, errs[0] = kubeapi.New(cfg, authnv1.SchemeGroupVersion)
	k.authz, errs[1] = kubeapi.New(cfg, authzv1.SchemeGroupVersion)
	k.core, errs[2] = kubeapi.New(cfg, corev1.SchemeGroupVersion)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, finding(Fail, "fix the kubeconfig", "%v", err)
	}
	return &k, Finding{}
}

func apiServer(ctx context.Context, c *Config) Finding {
	if c.APIError != nil {
		return finding(Fail, "bonds are repaired without it, and reported when it can be read: check the service account of the agent's pod", "%v", c.APIError)
	}
	k, f := client(c)
	if k == nil {
		return f
	}
	user, err := selfSubject(ctx, k)
	if err != nil {
		return finding(Fail, "bonds are repaired without it, and reported when it is reachable: check the node's route to it and the service account's token", "%s: %v", c.API.Host, err)
	}
	return ok("%s knows the agent as %s", c.API.Host, user.Username)
}

func selfSubject(ctx context.Context, k *api) (authnv1.UserInfo, error) {
	r, err := kubeapi.Create(ctx, k.authn, "", "selfsubjectreviews", &authnv1.SelfSubjectReview{}, false)
	if err != nil {
		return authnv1.UserInfo{}, err
	}
	return r.Status.UserInfo, nil
}

func apiNode(ctx context.Context, c *Config) Finding {
	k, f := client(c)
	if k == nil {
		return f
	}
	user, err := selfSubject(ctx, k)
	if err != nil {
		return skip("the API server does not answer")
	}
	if user.Username != agentUser {
		return skip("%s needs no node: the admission policy does not apply to it", user.Username)
	}
	node := strings.Join(user.Extra[nodeClaim], ",")
	switch node {
	case "":
		return finding(Fail, "use the token that the kubelet gives the agent's pod, on Kubernetes 1.30 or newer", "the token names no node: the admission policy rejects all reports of the agent")
	case c.Node:
		return ok("the token is for this node, %s", node)
	}
	return finding(Fail, "set NODE_NAME from the field spec.nodeName, as manifests/base does", "the token is for node %q and the agent is configured for node %q", node, c.Node)
}

// rights are the permissions that the agent needs.
var rights = []authzv1.ResourceAttributes{
	{Verb: "patch", Resource: "pods", Subresource: "status"},
	{Verb: "create", Resource: "events"},
	{Verb: "patch", Resource: "events"},
}

func apiRights(ctx context.Context, c *Config) Finding {
	k, f := client(c)
	if k == nil {
		return f
	}
	var allowed, denied []string
	for _, r := range rights {
		name := strings.TrimSuffix(r.Verb+" "+r.Resource+"/"+r.Subresource, "/")
		review := &authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &r}}
		response, err := kubeapi.Create(ctx, k.authz, "", "selfsubjectaccessreviews", review, false)
		if err != nil {
			return skip("the API server does not answer: %v", err)
		}
		if response.Status.Allowed {
			allowed = append(allowed, name)
		} else {
			denied = append(denied, name)
		}
	}
	if len(denied) > 0 {
		return finding(Fail, applyManifests, "not allowed: %s", strings.Join(denied, ", "))
	}
	return ok("allowed: %s", strings.Join(allowed, ", "))
}

// apiPolicy tries, as a dry run, what RBAC allows and the admission policy rejects: an event of another component. The
// agent may not read the policies themselves.
func apiPolicy(ctx context.Context, c *Config) Finding {
	k, f := client(c)
	if k == nil {
		return f
	}
	now := metav1.NewTime(time.Now())
	foreign := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("bondkeeper-doctor.%x", now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: metav1.NamespaceDefault, Name: "none"},
		Reason:         "Doctor", Message: "never stored", Type: corev1.EventTypeNormal, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "somebody-else"},
	}
	_, err := kubeapi.Create(ctx, k.core, foreign.Namespace, "events", foreign, true)
	switch {
	case err == nil:
		if user, failed := selfSubject(ctx, k); failed == nil && user.Username != agentUser {
			return finding(Warn, "use the service account of manifests/base, which may write to pods of this node only", "the admission policy does not apply to %s", user.Username)
		}
		return finding(Warn, applyManifests+": until then the agent's account may write to pods of other nodes", "the admission policy is not in force")
	case strings.Contains(err.Error(), "ValidatingAdmissionPolicy"):
		return ok("the admission policy is in force")
	case apierrors.IsForbidden(err):
		return skip("it cannot be tried without the right to create events")
	}
	return skip("the API server does not answer: %v", err)
}
