// Package kubeapi makes clients for single API groups of Kubernetes. The typed clients of client-go know the types of
// all groups, which makes a program that needs three of them half as large again.
package kubeapi

import (
	"context"
	"fmt"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// Scheme has the types of the groups that New accepts.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, authnv1.AddToScheme, authzv1.AddToScheme} {
		if err := add(s); err != nil {
			panic("kubeapi: " + err.Error()) // two types of one name
		}
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}

// New returns a client for one group. The config is not changed.
func New(c *rest.Config, group schema.GroupVersion) (*rest.RESTClient, error) {
	c = rest.CopyConfig(c)
	c.GroupVersion, c.APIPath = &group, "/apis"
	if group.Group == corev1.GroupName {
		c.APIPath = "/api"
	}
	c.NegotiatedSerializer = serializer.NewCodecFactory(Scheme).WithoutConversion()
	if c.UserAgent == "" {
		c.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", group, err)
	}
	return client, nil
}

// Object is a type of the API, as a pointer.
type Object[T any] interface {
	*T
	runtime.Object
}

// Create creates an object, in a namespace if the resource has one, and returns what the API server made of it. With
// dryRun it is not stored.
func Create[T any, P Object[T]](ctx context.Context, client rest.Interface, namespace, resource string, object P, dryRun bool) (P, error) {
	created := P(new(T))
	request := client.Post().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Body(object)
	if dryRun {
		request = request.Param("dryRun", metav1.DryRunAll)
	}
	return created, request.Do(ctx).Into(created)
}
