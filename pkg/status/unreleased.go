package status

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// EventUnreleased is the reason of the event that addresses of a pod's bond remain allocated.
const EventUnreleased = "BondAddressesNotReleased"

// maxUnreleased bounds how many such events wait for the API server. Further ones are queued by a later reconcile.
const maxUnreleased = 64

// unreleased is an event to be sent.
type unreleased struct {
	pod     bond.Pod
	message string
}

// queueUnreleased queues an event, once per bond, if addresses of a bond that is Deleting remain allocated. It needs
// r.mu.
func (r *Reporter) queueUnreleased(s *bond.Status) {
	if s.Unreleased == "" || r.unreleased[s.Key] {
		return
	}
	pod := r.podOf(s)
	if pod == (bond.Pod{}) {
		r.unreleased[s.Key] = true
		return
	}
	message := s.Key.IfName + ": its addresses remain allocated, and the agent tries again to release them: " + s.Unreleased
	select {
	case r.unreleasedQueue <- unreleased{pod, message}:
		r.unreleased[s.Key] = true
	default:
	}
}

// sendUnreleased sends the events until ctx ends.
func (r *Reporter) sendUnreleased(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-r.unreleasedQueue:
			r.events.Event(podReference(f.pod), corev1.EventTypeWarning, EventUnreleased, sanitize(f.message, maxMessage))
		}
	}
}
