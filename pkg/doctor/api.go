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
	authnclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authzclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// nodeClaim is where the API server says which node a token is bound to.
const nodeClaim = "authentication.kubernetes.io/node-name"

const applyManifests = "apply manifests/base"

// api are the clients of what is asked here; one of all of Kubernetes' types would make the program a fifth larger.
type api struct {
	who    *authnclient.AuthenticationV1Client
	may    *authzclient.AuthorizationV1Client
	events *coreclient.CoreV1Client
}

// client is nil where there is no API server to ask; the finding says so.
func client(c *Config) (*api, Finding) {
	if c.API == nil {
		return nil, skip("no API server is asked: bonds are told of in the log, in agent status and in the metrics")
	}
	cfg := rest.CopyConfig(c.API)
	cfg.Timeout = patience
	var k api
	var errs [3]error
	k.who, errs[0] = authnclient.NewForConfig(cfg)
	k.may, errs[1] = authzclient.NewForConfig(cfg)
	k.events, errs[2] = coreclient.NewForConfig(cfg)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, lack(Fail, "see to the kubeconfig", "%v", err)
	}
	return &k, Finding{}
}

func apiServer(ctx context.Context, c *Config) Finding {
	k, f := client(c)
	if k == nil {
		return f
	}
	who, err := whoAmI(ctx, k)
	if err != nil {
		return lack(Fail, "bonds are kept all the same, and told of when it can be reached: look at the node's way to it and at the service account's token", "%s: %v", c.API.Host, err)
	}
	return ok("%s knows the agent as %s", c.API.Host, who.Username)
}

func whoAmI(ctx context.Context, k *api) (authnv1.UserInfo, error) {
	r, err := k.who.SelfSubjectReviews().Create(ctx, &authnv1.SelfSubjectReview{}, metav1.CreateOptions{})
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
	who, err := whoAmI(ctx, k)
	if err != nil {
		return skip("the API server does not answer")
	}
	node := strings.Join(who.Extra[nodeClaim], ",")
	switch node {
	case "":
		return lack(Fail, "use the token that the kubelet gives the agent's pod, on Kubernetes 1.30 or newer", "the token names no node: the admission policy refuses whatever the agent tells")
	case c.Node:
		return ok("the token is for this node, %s", node)
	}
	return lack(Fail, "set NODE_NAME from the field spec.nodeName, as manifests/base does", "the token is for node %q and the agent is told that it is on %q", node, c.Node)
}

// rights are what the agent asks of the API server.
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
	var has, lacks []string
	for _, r := range rights {
		name := strings.TrimSuffix(r.Verb+" "+r.Resource+"/"+r.Subresource, "/")
		review := &authzv1.SelfSubjectAccessReview{Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &r}}
		answer, err := k.may.SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return skip("the API server does not answer: %v", err)
		}
		if answer.Status.Allowed {
			has = append(has, name)
		} else {
			lacks = append(lacks, name)
		}
	}
	if len(lacks) > 0 {
		return lack(Fail, applyManifests, "not allowed: %s", strings.Join(lacks, ", "))
	}
	return ok("allowed: %s", strings.Join(has, ", "))
}

// apiPolicy tries what the admission policy refuses and RBAC does not, as a dry run: an event in the name of
// somebody else. The agent may not read the policies themselves.
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
	_, err := k.events.Events(foreign.Namespace).Create(ctx, foreign, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return lack(Warn, applyManifests+": until then the agent's account may write to pods of other nodes", "the admission policy is not in force")
	case strings.Contains(err.Error(), "ValidatingAdmissionPolicy"):
		return ok("the admission policy is in force")
	case apierrors.IsForbidden(err):
		return skip("it cannot be tried without the right to create events")
	}
	return skip("the API server does not answer: %v", err)
}
