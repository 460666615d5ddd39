package status

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// EventUnreleased is the reason of the event that addresses of a pod's bond remain allocated.
const EventUnreleased = "BondAddressesNotReleased"

// maxUnreleased bounds how many such events wait for the API server. Those that do not fit are tried again with the next look.
const maxUnreleased = 64

// unreleased is an event to come.
type unreleased struct {
	pod     bond.Pod
	message string
}

// noteUnreleased makes an event, once per bond, if addresses of a bond that is Deleting remain allocated. r.mu is held.
func (r *Reporter) noteUnreleased(s *bond.Status) {
	if s.Unreleased == "" || r.unreleased[s.Key] {
		return
	}
	pod := r.admit(s)
	if pod == (bond.Pod{}) {
		r.unreleased[s.Key] = true
		return
	}
	message := s.Key.IfName + ": its addresses remain allocated, and the agent tries again to release them: " + s.Unreleased
	select {
	case r.failures <- unreleased{pod, message}:
		r.unreleased[s.Key] = true
	default:
	}
}

// announceUnreleased sends the events until ctx ends.
func (r *Reporter) announceUnreleased(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-r.failures:
			r.events.Event(reference(f.pod), corev1.EventTypeWarning, EventUnreleased, clean(f.message, maxMessage))
		}
	}
}
