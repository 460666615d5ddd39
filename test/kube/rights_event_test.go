//go:build kube

package kube

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Parts of the policy's messages.
const (
	eventKind   = "the agent may create events about pods only"
	eventBy     = "must have bondkeeper as source.component and as reportingComponent"
	eventNode   = "must have the agent's node as source.host and as reportingInstance"
	eventPlain  = "has no annotations, labels, finalizers or owner"
	eventSize   = "message is larger than 1 KiB or its reason larger than 128 bytes"
	eventChange = "the agent may change only its own events, and not what they are about"
)

// eventAttempts are what an agent might try with events.
var eventAttempts = []attempt{
	{"event", event(func(*corev1.Event) {}), accepted, ""},
	{"event of the maximum size", event(func(e *corev1.Event) {
		e.Message, e.Reason = strings.Repeat("x", 1024), strings.Repeat("R", 128)
	}), accepted, ""},
	{"event counted up", changeEvent(ownEvent, `{"count":2,"lastTimestamp":"2026-01-02T03:04:05Z","message":"again"}`), accepted, ""},
	// A policy does not see the pod that an event is about.
	{"event about another node's pod, in its own name", func(ctx context.Context, s *fixture) error {
		return createEvent(ctx, s.agent, agentEvent(s.other, ownNode))
	}, accepted, ""},

	{"event of another node", event(func(e *corev1.Event) { e.Source.Host = otherNode }), policy, eventNode},
	{"event reported by another node", event(func(e *corev1.Event) { e.ReportingInstance = otherNode }), policy, eventNode},
	{"event of no node", event(func(e *corev1.Event) { e.Source.Host, e.ReportingInstance = "", "" }), policy, eventNode},
	{"event of another component", event(func(e *corev1.Event) { e.Source.Component = "kubelet" }), policy, eventBy},
	{"event reported by another component", event(func(e *corev1.Event) { e.ReportingController = "kubelet" }), policy, eventBy},
	{"event about a node", func(ctx context.Context, s *fixture) error {
		e := agentEvent(s.own, ownNode)
		e.Namespace = "default"
		e.InvolvedObject = corev1.ObjectReference{Kind: "Node", Name: ownNode}
		return createEvent(ctx, s.agent, e)
	}, policy, eventKind},
	{"event about a kind of its own", event(func(e *corev1.Event) { e.InvolvedObject.APIVersion = "example.com/v1" }), policy, eventKind},
	{"event about nothing", event(func(e *corev1.Event) {
		e.InvolvedObject = corev1.ObjectReference{Namespace: e.Namespace}
	}), policy, eventKind},
	{"event with a long message", event(func(e *corev1.Event) { e.Message = strings.Repeat("x", 1025) }), policy, eventSize},
	{"event with a long reason", event(func(e *corev1.Event) { e.Reason = strings.Repeat("R", 129) }), policy, eventSize},
	{"event with a finalizer", event(func(e *corev1.Event) { e.Finalizers = []string{"example.com/hold"} }), policy, eventPlain},
	{"event with an annotation", event(func(e *corev1.Event) { e.Annotations = map[string]string{"a": "b"} }), policy, eventPlain},
	{"event with a label", event(func(e *corev1.Event) { e.Labels = map[string]string{"a": "b"} }), policy, eventPlain},
	{"event with a token without node", func(ctx context.Context, s *fixture) error {
		return createEvent(ctx, s.nodeless, agentEvent(s.own, ownNode))
	}, policy, noNode},
	{"event with a token without node, of no node", func(ctx context.Context, s *fixture) error {
		return createEvent(ctx, s.nodeless, agentEvent(s.own, ""))
	}, policy, noNode},

	{"own event about another pod", changeEvent(ownEvent, `{"involvedObject":{"name":"x"}}`), policy, eventChange},
	{"own event of another node", changeEvent(ownEvent, `{"source":{"host":"x"},"reportingInstance":"x"}`), policy, eventNode},
	{"another's event", changeEvent(alienEvent, `{"count":2}`), policy, eventBy},
	{"event made its own that is of another host", func(ctx context.Context, s *fixture) error {
		return takeOver(ctx, s, func(e *corev1.Event) { e.Source.Host = otherNode })
	}, policy, eventChange},
	{"event made its own that another node reported", func(ctx context.Context, s *fixture) error {
		return takeOver(ctx, s, func(e *corev1.Event) { e.ReportingInstance = otherNode })
	}, policy, eventChange},
	{"event made its own that another component reported", func(ctx context.Context, s *fixture) error {
		return takeOver(ctx, s, func(e *corev1.Event) { e.ReportingController = "kubelet" })
	}, policy, eventChange},
	{"event about a node, applied", func(ctx context.Context, s *fixture) error {
		const e = `{"apiVersion":"v1","kind":"Event","metadata":{"name":"applied"},"involvedObject":{"kind":"Node","name":"n"},
			"source":{"component":"bondkeeper","host":"rights-a"},"reportingComponent":"bondkeeper","reportingInstance":"rights-a"}`
		_, err := s.agent.CoreV1().Events("default").Patch(ctx, "applied", types.ApplyPatchType, []byte(e), metav1.PatchOptions{FieldManager: "bondkeeper"})
		return err
	}, policy, eventKind},
}

// event creates an event about the agent's own pod, with a change to what the agent would write.
func event(change func(*corev1.Event)) func(context.Context, *fixture) error {
	return func(ctx context.Context, s *fixture) error {
		e := agentEvent(s.own, ownNode)
		change(e)
		return createEvent(ctx, s.agent, e)
	}
}

func createEvent(ctx context.Context, c kubernetes.Interface, e *corev1.Event) error {
	_, err := c.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	return err
}

// changeEvent patches an event of the fixture.
func changeEvent(which func(*fixture) *corev1.Event, text string) func(context.Context, *fixture) error {
	return func(ctx context.Context, s *fixture) error {
		e := which(s)
		_, err := s.agent.CoreV1().Events(e.Namespace).Patch(ctx, e.Name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
}

// takeOver creates an event that is not the agent's, and patches it to be the agent's.
func takeOver(ctx context.Context, s *fixture, foreign func(*corev1.Event)) error {
	e := agentEvent(s.own, ownNode)
	foreign(e)
	e, err := shared.client.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	s.alienEvent = e
	return changeEvent(alienEvent, `{"source":{"component":"bondkeeper","host":"rights-a"},"reportingComponent":"bondkeeper","reportingInstance":"rights-a"}`)(ctx, s)
}

func ownEvent(s *fixture) *corev1.Event   { return s.ownEvent }
func alienEvent(s *fixture) *corev1.Event { return s.alienEvent }
