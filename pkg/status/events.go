package status

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/kubeapi"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// Component is the source of events; the admission policy checks it.
const Component = v1.EventSource

// The reasons of events.
const (
	EventReady    = "BondReady"
	EventRepaired = "BondRepaired"
	EventDegraded = "BondDegraded"
	EventDown     = "BondDown"
	EventStuck    = "BondStuck"
)

// startEvents sends events until ctx ends. The recorder queues a bounded number of them, counts repeated ones, gives up
// on one after two minutes, and allows 25 per pod and type at once and then one per five minutes.
func (r *Reporter) startEvents(ctx context.Context) record.EventRecorder {
	eventLogger := funcr.New(func(_, text string) {
		r.c.Log.Warn("event not written", zap.String("reason", sanitize(text, maxMessage)))
	}, funcr.Options{})
	b := record.NewBroadcaster(record.WithContext(klog.NewContext(ctx, eventLogger)), record.WithCorrelatorOptions(record.CorrelatorOptions{
		LRUCacheSize: 1024,
		// Different messages stay different events: the recorder's aggregate of them has no reporting component, and
		// the admission policy rejects it.
		KeyFunc: func(e *corev1.Event) (string, string) {
			key, message := record.EventAggregatorByReasonFunc(e)
			return key + message, message
		},
	}))
	b.StartRecordingToSink(&rateLimitedSink{client: r.api.client, ctx: ctx, limiter: r.limiter, breaker: &r.breaker})
	return b.NewRecorder(kubeapi.Scheme, corev1.EventSource{Component: Component, Host: r.c.Node}).WithLogger(eventLogger)
}

const events = "events"

// rateLimitedSink shares the rate limit and the circuit breaker of all requests of the node. The recorder passes no
// context; ctx ends when the reporter does.
type rateLimitedSink struct {
	client  rest.Interface
	ctx     context.Context
	limiter flowcontrol.RateLimiter
	breaker *circuitBreaker
}

// Create implements record.EventSink.
func (s *rateLimitedSink) Create(e *corev1.Event) (*corev1.Event, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	created, err := kubeapi.Create(s.ctx, s.client, e.Namespace, events, e, false)
	return created, retried(err)
}

// Update implements record.EventSink. The recorder does not call it.
func (s *rateLimitedSink) Update(*corev1.Event) (*corev1.Event, error) {
	return nil, errors.ErrUnsupported
}

// Patch implements record.EventSink.
func (s *rateLimitedSink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	patched := new(corev1.Event)
	err := s.client.Patch(types.StrategicMergePatchType).Namespace(e.Namespace).Resource(events).Name(e.Name).Body(data).Do(s.ctx).Into(patched)
	return patched, retried(err)
}

// retried returns an error that the recorder retries, if the API server is unavailable. The recorder gives up on an
// event with any status that the API server returned, also if that is 503.
func retried(err error) error {
	if err == nil {
		return nil
	}
	if class, _ := classifyError(err); class == unavailable {
		return errors.New(err.Error())
	}
	return err
}

func (s *rateLimitedSink) wait() error {
	for {
		closed := time.Until(s.breaker.nextAllowed())
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

// emitEvent writes an event if the bond's state changed since the last patch of the pod. It is called after the patch.
// So after an outage there is one event, with the current state.
func (r *Reporter) emitEvent(pod bond.Pod, was bondCheckpoint, s *bond.Status) {
	reason, message := eventFor(was, s)
	if reason == "" {
		return
	}
	level := corev1.EventTypeWarning
	if reason == EventReady || reason == EventRepaired {
		level = corev1.EventTypeNormal
	}
	suffix := lossSuffix(reason, s)
	r.events.Event(podReference(pod), level, reason, sanitize(message, maxMessage-len(suffix))+suffix)
}

// eventFor returns the event for the change from was to s, or an empty reason if there is none. A bond whose first
// known state is Ready has no event.
func eventFor(was bondCheckpoint, s *bond.Status) (reason, message string) {
	switch s.State {
	case bond.StateReady:
		repaired := was.State != "" && s.Repairs > was.Repairs
		if repaired && s.Last != nil {
			return EventRepaired, repairMessage(s)
		}
		if was.State != "" && was.State != bond.StateReady {
			return EventReady, s.Key.IfName + " is Ready again"
		}
		return "", ""
	case was.State:
		return "", ""
	case bond.StateDegraded:
		return EventDegraded, describe(s)
	case bond.StateDown:
		return EventDown, describe(s)
	case bond.StateStuck:
		return EventStuck, describe(s)
	default:
		return "", "" // a transient state
	}
}

// lossSuffix returns " (loss abcdefgh)": what finds the lines about it in the agent's log.
func lossSuffix(reason string, s *bond.Status) string {
	ids := s.Losses
	if reason == EventRepaired {
		ids = []string{s.Last.ID}
	}
	text := sanitize(strings.Join(ids, ","), maxName)
	if reason == EventReady || text == "" {
		return ""
	}
	return " (loss " + text + ")"
}

// repairMessage returns "bond0 recovered: net1 re-attached after MemberInHost, in 412ms (repair 1)".
func repairMessage(s *bond.Status) string {
	what := s.Last.Member + " re-attached"
	if s.Last.Member == "" {
		what = "bond repaired"
	}
	took := time.Duration(s.Last.Took) * time.Millisecond
	return fmt.Sprintf("%s recovered: %s after %s, in %s (repair %d)", s.Key.IfName, what, s.Last.Cause, took, s.Repairs)
}
