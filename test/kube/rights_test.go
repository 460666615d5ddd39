//go:build kube

package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	statusv1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const (
	ownNode, otherNode = "rights-a", "rights-b"
	networkStatus      = "k8s.v1.cni.cncf.io/network-status"
)

// rejecter is what rejects an attempt.
type rejecter string

const (
	accepted rejecter = "accepted"
	rbac     rejecter = "RBAC"
	policy   rejecter = "the admission policy"
	server   rejecter = "the API server's own rules"
	// ignored: the API server accepts it and changes nothing.
	ignored rejecter = "accepted without effect"
)

// reasons are the status reasons of rejections.
var reasons = map[rejecter]metav1.StatusReason{rbac: metav1.StatusReasonForbidden, policy: metav1.StatusReasonInvalid}

// attempt is something that an agent, or a client with its token, tries.
type attempt struct {
	name string
	do   func(context.Context, *fixture) error
	by   rejecter
	// text is part of the rejection.
	text string
}

// fixture is what an attempt finds: an agent on ownNode, and two pods and two events that it must not change.
type fixture struct {
	agent      kubernetes.Interface
	nodeless   kubernetes.Interface
	own, other *corev1.Pod
	ownEvent   *corev1.Event
	alienEvent *corev1.Event
}

// Each attempt is rejected by its rejecter. Those that the policy rejects succeed without the policy, which proves that
// the policy is the reason.
func TestRights(t *testing.T) {
	agents := fixture{agent: client(t, shared.AgentConfig(t, ownNode)), nodeless: client(t, nodelessConfig(t))}
	shared.Node(t, otherNode)
	shared.installAccount(t)
	t.Run("without policy", func(t *testing.T) { runAttempts(t, agents, "rights-without", false) })
	shared.installPolicy(t)
	t.Run("with policy", func(t *testing.T) { runAttempts(t, agents, "rights-with", true) })
}

// nodelessConfig is the config of a client with a token of the agent's account that is bound to nothing.
func nodelessConfig(t *testing.T) *rest.Config {
	shared.Namespace(t, AgentNamespace)
	shared.account(t, AgentNamespace, AgentAccount)
	return shared.accountConfig(t, nil)
}

func runAttempts(t *testing.T, agents fixture, namespace string, policed bool) {
	shared.Namespace(t, namespace)
	for i, a := range append(podAttempts, append(eventAttempts, otherAttempts...)...) {
		t.Run(a.name, func(t *testing.T) {
			s := agents
			s.set(t, namespace, fmt.Sprintf("p%d", i))
			by := a.by
			if by == policy && !policed {
				by = accepted
			}
			judge(t, a.do(t.Context(), &s), by, a.text)
			if by != accepted {
				s.unchanged(t)
			}
		})
	}
}

// judge compares the result of an attempt with its expected rejecter.
func judge(t *testing.T, err error, by rejecter, text string) {
	t.Helper()
	switch {
	case by == accepted || by == ignored:
		if err != nil {
			t.Fatalf("rejected: %v", err)
		}
		return
	case err == nil:
		t.Fatalf("not rejected by %s", by)
	}
	if want, fixed := reasons[by]; fixed && apierrors.ReasonForError(err) != want {
		t.Errorf("the API server's reason is %q, want %q", apierrors.ReasonForError(err), want)
	}
	if by == policy && !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'bondkeeper-agent-") {
		t.Errorf("not rejected by the policy: %v", err)
	}
	if text == "" || !strings.Contains(err.Error(), text) {
		t.Errorf("the rejection does not contain %q: %v", text, err)
	}
	if testing.Verbose() {
		t.Log(err)
	}
}

// set creates the pods and events of a fixture.
func (s *fixture) set(t *testing.T, namespace, name string) {
	t.Helper()
	s.own = livelyPod(t, namespace, name, ownNode)
	s.other = livelyPod(t, namespace, name+"-other", otherNode)
	s.ownEvent = makeEvent(t, agentEvent(s.own, ownNode))
	alien := agentEvent(s.own, otherNode)
	alien.Source.Component, alien.ReportingController = "kubelet", "kubelet"
	s.alienEvent = makeEvent(t, alien)
}

// livelyPod makes a pod with a value in every field that a patch of its status could change.
func livelyPod(t *testing.T, namespace, name, node string) *corev1.Pod {
	t.Helper()
	meta := metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: map[string]string{"app": "demo"}, Finalizers: []string{"example.com/hold"},
		Annotations: map[string]string{networkStatus: "[]", "example.com/note": "mine", statusv1.Annotation: "[]"},
	}
	pod := shared.pod(t, meta, node, "default")
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	pod.Status.Phase, pod.Status.HostIP, pod.Status.PodIP = corev1.PodRunning, "192.0.2.1", "10.1.0.7"
	pod.Status.HostIPs, pod.Status.PodIPs = []corev1.HostIP{{IP: "192.0.2.1"}}, []corev1.PodIP{{IP: "10.1.0.7"}}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
		{Type: "example.com/Gate", Status: corev1.ConditionFalse},
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Ready: true, State: running, Image: "none", ImageID: "none"}}
	pod, err := shared.client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	kit.Must(t, err)
	return pod
}

// agentEvent is an event as the agent of a node makes it.
func agentEvent(pod *corev1.Pod, node string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + ".", Namespace: pod.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Reason: "BondDegraded", Message: "bond0 is Degraded", Type: corev1.EventTypeWarning, Count: 1,
		Source:              corev1.EventSource{Component: "bondkeeper", Host: node},
		ReportingController: "bondkeeper", ReportingInstance: node,
	}
}

func makeEvent(t *testing.T, e *corev1.Event) *corev1.Event {
	t.Helper()
	made, err := shared.client.CoreV1().Events(e.Namespace).Create(t.Context(), e, metav1.CreateOptions{})
	kit.Must(t, err)
	return made
}

// unchanged fails the test if an object of the fixture was changed.
func (s *fixture) unchanged(t *testing.T) {
	t.Helper()
	for _, pod := range []*corev1.Pod{s.own, s.other} {
		if diff := cmp.Diff(pod, current(t, pod)); diff != "" {
			t.Errorf("the pod %s has changed (-before +after):\n%s", pod.Name, diff)
		}
	}
	for _, e := range []*corev1.Event{s.ownEvent, s.alienEvent} {
		now, err := shared.client.CoreV1().Events(e.Namespace).Get(t.Context(), e.Name, metav1.GetOptions{})
		if diff := cmp.Diff(e, now); err != nil || diff != "" {
			t.Errorf("the event %s has changed (-before +after): %v\n%s", e.Name, err, diff)
		}
	}
}

func current(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	now, err := shared.client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	kit.Must(t, err)
	return now
}

// The agent's usual requests change only what they must, even on a pod with many other fields; repeating one does not
// create a new version.
func TestAgentPatch(t *testing.T) {
	shared.InstallRights(t)
	agent := client(t, shared.AgentConfig(t, ownNode))
	shared.Namespace(t, "rights-patch")
	before := fullPod(t, livelyPod(t, "rights-patch", "p", ownNode))
	versions := []string{before.ResourceVersion}
	for _, status := range []string{"False", "False", "True"} {
		text := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:%q}},"status":{"conditions":[
			{"type":%q,"status":%[3]q,"reason":"R","message":"bond0","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}`,
			before.UID, statusv1.Annotation, status, statusv1.Condition)
		kit.Must(t, patchStatus(t.Context(), agent, before, types.StrategicMergePatchType, text))
		versions = append(versions, current(t, before).ResourceVersion)
	}
	if versions[0] == versions[1] || versions[1] != versions[2] || versions[2] == versions[3] {
		t.Errorf("versions before, after a patch, after the same again, after another: %q", versions)
	}
	want, after := before.DeepCopy(), current(t, before)
	want.Annotations[statusv1.Annotation] = "True"
	since := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	want.Status.Conditions = slices.Insert(want.Status.Conditions, 0, corev1.PodCondition{
		Type: statusv1.Condition, Status: corev1.ConditionTrue, Reason: "R", Message: "bond0", LastTransitionTime: since,
	})
	want.ResourceVersion, want.ManagedFields = after.ResourceVersion, after.ManagedFields
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("pod after the patches (-want +got):\n%s", diff)
	}
}

// fullPod adds the maximum of annotations to a pod, some 256 KiB: a policy that evaluates for too long is aborted.
func fullPod(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	for i := range 1000 {
		pod.Annotations[fmt.Sprintf("example.com/a%d", i)] = strings.Repeat("x", 230)
	}
	pod, err := shared.client.CoreV1().Pods(pod.Namespace).Update(t.Context(), pod, metav1.UpdateOptions{})
	kit.Must(t, err)
	return pod
}
