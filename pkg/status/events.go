package status

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Component is the source of events; the admission policy goes by it.
const Component = "bondkeeper"

// The reasons of events.
const (
	EventReady    = "BondReady"
	EventRepaired = "BondRepaired"
	EventDegraded = "BondDegraded"
	EventDown     = "BondDown"
	EventStuck    = "BondStuck"
)

// startEvents begins to write events, until ctx ends. The recorder keeps a bounded number of
// them, counts up one that happens again, gives up on one after two minutes, and lets a pod
// have 25 of a type at once and one in five minutes after that.
func (r *Reporter) startEvents(ctx context.Context) record.EventRecorder {
	lost := funcr.New(func(_, text string) {
		r.c.Log.Warn("event not written", zap.String("why", clean(text, maxMessage)))
	}, funcr.Options{})
	b := record.NewBroadcaster(record.WithContext(klog.NewContext(ctx, lost)), record.WithCorrelatorOptions(record.CorrelatorOptions{
		LRUCacheSize: 1024,
		// Different messages stay different events: the sum that the recorder would make of them
		// names no reporting component, and the admission policy refuses it.
		KeyFunc: func(e *corev1.Event) (string, string) {
			key, message := record.EventAggregatorByReasonFunc(e)
			return key + message, message
		},
	}))
	sink := &typedv1.EventSinkImpl{Interface: r.api.client.Events("")}
	b.StartRecordingToSink(&patient{EventSink: sink, ctx: ctx, limiter: r.limiter, gate: &r.gate})
	return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: Component, Host: r.c.Node}).WithLogger(lost)
}

// patient is a sink that takes its turn among all requests of the node, and leaves an API server alone that is away.
// The recorder knows no context; ctx ends when the reporter does.
type patient struct {
	record.EventSink
	ctx     context.Context
	limiter flowcontrol.RateLimiter
	gate    *gate
}

// Create implements record.EventSink.
func (s *patient) Create(e *corev1.Event) (*corev1.Event, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	return s.EventSink.Create(e)
}

// Patch implements record.EventSink.
func (s *patient) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	return s.EventSink.Patch(e, data)
}

func (s *patient) wait() error {
	for {
		closed := time.Until(s.gate.opens())
		if closed <= 0 {
			return s.limiter.Wait(s.ctx)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(closed):
		}
	}
}

// announce makes an event of what changed with a bond since the pod was told last. It is called
// after the pod was told, so that after an outage there is an event of how things are, and
// none of what nobody can act upon any more.
func (r *Reporter) announce(pod bond.Pod, was saidBond, s *bond.Status) {
	reason, message := transition(was, s)
	if reason == "" {
		return
	}
	level := corev1.EventTypeWarning
	if reason == EventReady || reason == EventRepaired {
		level = corev1.EventTypeNormal
	}
	r.events.Event(reference(pod), level, reason, clean(message, maxMessage))
}

// transition is the event that leads from was to s; none if there is no reason. A bond that is
// Ready when it is first told of has come from nowhere.
func transition(was saidBond, s *bond.Status) (reason, message string) {
	switch s.State {
	case bond.StateReady:
		repaired := was.State != "" && s.Repairs > was.Repairs
		if repaired && s.Last != nil {
			return EventRepaired, repairOf(s)
		}
		if was.State != "" && was.State != bond.StateReady {
			return EventReady, s.Key.IfName + " is Ready again"
		}
		return "", ""
	case was.State:
		return "", ""
	case bond.StateDegraded:
		return EventDegraded, sentence(s)
	case bond.StateDown:
		return EventDown, sentence(s)
	case bond.StateStuck:
		return EventStuck, sentence(s)
	default:
		return "", "" // on its way somewhere
	}
}

// repairOf is "bond0: net1 put back after MemberInHost, in 412ms".
func repairOf(s *bond.Status) string {
	who := s.Last.Member
	if who == "" {
		who = "the bond itself"
	}
	took := time.Duration(s.Last.Took) * time.Millisecond
	return fmt.Sprintf("%s is whole again: %s put back after %s, in %s (repair %d)", s.Key.IfName, who, s.Last.Cause, took, s.Repairs)
}
