package runtimetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apievents "github.com/containerd/containerd/api/events"
	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	sandboxapi "github.com/containerd/containerd/api/services/sandbox/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// list is the result of a list, after a stall has ended.
func (f *Fake) list(ctx context.Context) ([]string, Faults, error) {
	f.mu.Lock()
	stalled := f.stalled
	f.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return nil, Faults{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults.Empty {
		return nil, f.faults, f.faults.Err
	}
	return append([]string(nil), f.sandboxes...), f.faults, f.faults.Err
}

// news calls send at each stop and each removal from now on, with the sandbox's ID.
func (f *Fake) news(ctx context.Context, send func(stopped, removed string) error) error {
	f.mu.Lock()
	removed, stopped, changed := len(f.removed), len(f.stopped), f.changed
	f.mu.Unlock()
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		f.mu.Lock()
		gone, ended := slices.Clone(f.removed[removed:]), slices.Clone(f.stopped[stopped:])
		removed, stopped, changed = len(f.removed), len(f.stopped), f.changed
		f.mu.Unlock()
		for _, id := range ended {
			if err := send(id, ""); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if err := send("", id); err != nil {
				return err
			}
		}
	}
}

type containers struct {
	*Fake
	containersapi.UnimplementedContainersServer
}

// ListStream knows one filter. Only that excludes a sandbox's own container.
func (c containers) ListStream(r *containersapi.ListContainersRequest, stream containersapi.Containers_ListStreamServer) error {
	ids, faults, err := c.list(stream.Context())
	if err != nil {
		return err
	}
	if len(r.GetFilters()) == 1 && strings.Contains(r.GetFilters()[0], "==container") {
		return c.sendContainers(stream, !faults.NoSandboxField)
	}
	if len(r.GetFilters()) != 1 || !strings.Contains(r.GetFilters()[0], "==sandbox") {
		ids = append(ids, "a-container-of-a-pod")
	}
	for i, id := range ids {
		if faults.CutAfter > 0 && i == faults.CutAfter {
			return status.Error(codes.Unavailable, "going down")
		}
		if err := stream.Send(&containersapi.ListContainerMessage{Container: &containersapi.Container{ID: id}}); err != nil {
			return err
		}
	}
	return nil
}

// sendContainers sends the containers of pods, each with the CRI plugin's metadata.
func (c containers) sendContainers(stream containersapi.Containers_ListStreamServer, withField bool) error {
	c.mu.Lock()
	populated := slices.Clone(c.populated)
	c.mu.Unlock()
	for _, id := range populated {
		metadata := fmt.Sprintf(`{"Version":"v1","Metadata":{"ID":"in-%s","Name":"c","SandboxID":%q,"Config":{"metadata":{"name":"c"}}}}`, id, id)
		container := &containersapi.Container{ID: "in-" + id, Extensions: map[string]*anypb.Any{
			"io.cri-containerd.container.metadata": {TypeUrl: "github.com/containerd/cri/pkg/store/container/Metadata", Value: []byte(metadata)},
		}}
		if withField {
			container.Sandbox = id
		}
		if err := stream.Send(&containersapi.ListContainerMessage{Container: container}); err != nil {
			return err
		}
	}
	return nil
}

type store struct {
	*Fake
	sandboxapi.UnimplementedStoreServer
}

func (s store) List(ctx context.Context, r *sandboxapi.StoreListRequest) (*sandboxapi.StoreListResponse, error) {
	ids, faults, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	if faults.NoStore {
		return s.UnimplementedStoreServer.List(ctx, r)
	}
	reply := &sandboxapi.StoreListResponse{}
	s.mu.Lock()
	if s.beginning != "" {
		ids = append(ids, s.beginning)
	}
	s.mu.Unlock()
	for _, id := range ids {
		reply.List = append(reply.List, &types.Sandbox{SandboxID: id, Runtime: &types.Sandbox_Runtime{}})
	}
	return reply, nil
}

type events struct {
	*Fake
	eventsapi.UnimplementedEventsServer
}

func (e events) Subscribe(r *eventsapi.SubscribeRequest, stream eventsapi.Events_SubscribeServer) error {
	exits := len(r.GetFilters()) == 1 && strings.Contains(r.GetFilters()[0], "/tasks/exit")
	return e.news(stream.Context(), func(stopped, _ string) error {
		switch {
		case stopped == "" && !exits:
			return stream.Send(&types.Envelope{Topic: "/containers/delete"})
		case stopped == "" || !exits:
			return nil
		}
		for _, id := range []string{"a-process-in-it", stopped} {
			exit, err := anypb.New(&apievents.TaskExit{ContainerID: stopped, ID: id})
			if err == nil {
				err = stream.Send(&types.Envelope{Topic: "/tasks/exit", Event: exit})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type service struct {
	*Fake
	cri.UnimplementedRuntimeServiceServer
}

func (s service) ListPodSandbox(ctx context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	ids, _, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	reply := &cri.ListPodSandboxResponse{}
	if r.GetFilter() != nil {
		return reply, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		reply.Items = append(reply.Items, &cri.PodSandbox{Id: id, State: s.state(id)})
	}
	return reply, nil
}

func (s service) ListContainers(ctx context.Context, _ *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	if _, _, err := s.list(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := &cri.ListContainersResponse{}
	for _, id := range s.populated {
		reply.Containers = append(reply.Containers, &cri.Container{Id: "in-" + id, PodSandboxId: id})
	}
	return reply, nil
}

func (s service) GetContainerEvents(_ *cri.GetEventsRequest, stream grpc.ServerStreamingServer[cri.ContainerEventResponse]) error {
	s.mu.Lock()
	s.streams++
	s.mu.Unlock()
	if s.crio != nil && !s.crio.PodEvents {
		return nil
	}
	return s.news(stream.Context(), func(stopped, removed string) error {
		switch {
		case s.crio != nil:
			return sendCRIO(stream, stopped, removed)
		case removed != "":
			return stream.Send(&cri.ContainerEventResponse{ContainerEventType: cri.ContainerEventType_CONTAINER_DELETED_EVENT})
		}
		return stream.Send(&cri.ContainerEventResponse{
			ContainerEventType: cri.ContainerEventType_CONTAINER_STOPPED_EVENT, ContainerId: stopped, PodSandboxStatus: &cri.PodSandboxStatus{Id: stopped},
		})
	})
}
