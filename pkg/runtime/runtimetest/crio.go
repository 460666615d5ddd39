package runtimetest

import (
	"slices"
	"testing"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRIO describes a CRI-O, as version 1.37 behaves:
//
//   - Without enable_pod_events, its default, a stream of events ends at once and without an error.
//   - With it, an event has the state of its pod's sandbox, and there is none for the removal of a sandbox, which has no
//     state by then. The kubelet removes the containers first, and there are events for those.
//   - The pod's networks are deleted before its sandbox is reported as stopped.
//   - A sandbox whose networks are being added is not listed; a stopped one is listed as not ready.
type CRIO struct {
	// PodEvents is enable_pod_events.
	PodEvents bool
}

// NewCRIO serves a CRI-O without sandboxes on socket. Its events are those of sandboxes with a container. It ends
// with the test.
func NewCRIO(t testing.TB, socket string, kind CRIO) *Fake { return newFake(t, socket, &kind) }

// Streams returns how many streams of events were opened over the CRI so far.
func (f *Fake) Streams() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streams
}

// state returns the state of a sandbox. f.mu is held.
func (f *Fake) state(id string) cri.PodSandboxState {
	if slices.Contains(f.stopped, id) {
		return cri.PodSandboxState_SANDBOX_NOTREADY
	}
	return cri.PodSandboxState_SANDBOX_READY
}

// sendCRIO sends the events about a sandbox that was stopped or removed: those of its container come first.
func sendCRIO(stream grpc.ServerStreamingServer[cri.ContainerEventResponse], stopped, removed string) error {
	event := func(kind cri.ContainerEventType, container, sandbox string) error {
		return stream.Send(&cri.ContainerEventResponse{
			ContainerEventType: kind, ContainerId: container,
			PodSandboxStatus: &cri.PodSandboxStatus{Id: sandbox, State: cri.PodSandboxState_SANDBOX_NOTREADY},
		})
	}
	if removed != "" {
		return event(cri.ContainerEventType_CONTAINER_DELETED_EVENT, "in-"+removed, removed)
	}
	for _, container := range []string{"in-" + stopped, stopped} {
		if err := event(cri.ContainerEventType_CONTAINER_STOPPED_EVENT, container, stopped); err != nil {
			return err
		}
	}
	return nil
}
