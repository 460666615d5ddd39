package kube

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace makes a namespace with the service account that pods need. An existing one stays as it is.
func (c *ControlPlane) Namespace(t testing.TB, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	mayExist(t, err)
	c.account(t, name, "default")
}

// account makes a service account. An existing one stays as it is.
func (c *ControlPlane) account(t testing.TB, namespace, name string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	_, err := c.client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), account, metav1.CreateOptions{})
	mayExist(t, err)
}

func (c *ControlPlane) hasAccount(ctx context.Context, namespace, name string) error {
	_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	return err
}

// Node makes a node without a kubelet. An existing one stays as it is.
func (c *ControlPlane) Node(t testing.TB, name string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	mayExist(t, err)
}

// Pod makes a pod that is assigned to a node, and its namespace if it does not exist. No kubelet runs the pod.
func (c *ControlPlane) Pod(t testing.TB, namespace, name, node string) *corev1.Pod {
	t.Helper()
	c.Namespace(t, namespace)
	return c.pod(t, metav1.ObjectMeta{Namespace: namespace, Name: name}, node, "default")
}

// pod makes a pod of a service account. Its deletion waits for no kubelet.
func (c *ControlPlane) pod(t testing.TB, meta metav1.ObjectMeta, node, account string) *corev1.Pod {
	t.Helper()
	atOnce := int64(0)
	pod, err := c.client.CoreV1().Pods(meta.Namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: meta,
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account, TerminationGracePeriodSeconds: &atOnce,
			Containers: []corev1.Container{{Name: "main", Image: "none"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("make the pod %s/%s%s: %v", meta.Namespace, meta.Name, meta.GenerateName, err)
	}
	return pod
}

func mayExist(t testing.TB, err error) {
	t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}
