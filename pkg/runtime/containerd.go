package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"

	apievents "github.com/containerd/containerd/api/events"
	containers "github.com/containerd/containerd/api/services/containers/v1"
	events "github.com/containerd/containerd/api/services/events/v1"
	sandboxes "github.com/containerd/containerd/api/services/sandbox/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// namespaceHeader names the containerd namespace of a request; criNamespace is that of containerd's CRI plugin
// (k8sContainerdNamespace in internal/cri/constants).
const namespaceHeader, criNamespace = "containerd-namespace", "k8s.io"

// sandboxContainers are the containers that represent a sandbox; the label is the CRI plugin's.
const sandboxContainers = `labels."io.cri-containerd.kind"==sandbox`

// podContainers are the containers of pods. They name their sandbox since containerd 1.7 (WithSandbox in
// internal/cri/server/container_create.go).
const podContainers = `labels."io.cri-containerd.kind"==container`

// sandboxEvents are those after which a sandbox may be gone. A task exit is not one: a sandbox whose process has ended
// remains until it is removed.
var sandboxEvents = []string{
	`namespace==k8s.io,topic=="/containers/delete"`,
	`namespace==k8s.io,topic=="/sandboxes/exit"`,
}

// taskExits are the exits of processes.
const taskExits = `namespace==k8s.io,topic=="/tasks/exit"`

// containerdRuntime uses containerd's API without its client library, which contains all that pulls and unpacks images.
type containerdRuntime struct {
	conn     *grpc.ClientConn
	endpoint string
}

func openContainerd(socket string) (*containerdRuntime, error) {
	conn, err := dial(socket)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", socket, err)
	}
	return &containerdRuntime{conn: conn, endpoint: socket}, nil
}

// Sandboxes joins two lists. The sandbox store (containerd 1.7 and later) has a sandbox before its netns is made, but
// none that an older containerd made. A sandbox's container exists only after CNI has returned, and never if the
// runtime needs none.
func (r *containerdRuntime) Sandboxes(ctx context.Context) ([]string, error) {
	var ids []string
	err := r.eachContainer(ctx, sandboxContainers, func(c *containers.Container) { ids = append(ids, c.GetID()) })
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list sandbox containers: %w", r.endpoint, err)
	}
	list, err := sandboxes.NewStoreClient(r.conn).List(inNamespace(ctx), &sandboxes.StoreListRequest{})
	if err != nil && status.Code(err) != codes.Unimplemented {
		return nil, fmt.Errorf("containerd at %s: list sandboxes: %w", r.endpoint, err)
	}
	for _, s := range list.GetList() {
		ids = append(ids, s.GetSandboxID())
	}
	return sortedUnique(ids), nil
}

// Populated ignores the containers that represent sandboxes: with a user namespace such a container runs before CNI.
func (r *containerdRuntime) Populated(ctx context.Context) ([]string, error) {
	var ids []string
	err := r.eachContainer(ctx, podContainers, func(c *containers.Container) {
		if id := c.GetSandbox(); id != "" {
			ids = append(ids, id)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list containers: %w", r.endpoint, err)
	}
	return sortedUnique(ids), nil
}

// eachContainer uses a stream: a list in one message is limited.
func (r *containerdRuntime) eachContainer(ctx context.Context, filter string, each func(*containers.Container)) error {
	stream, err := containers.NewContainersClient(r.conn).ListStream(inNamespace(ctx), &containers.ListContainersRequest{Filters: []string{filter}})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(message.GetContainer())
	}
}

func (r *containerdRuntime) Events(ctx context.Context, wake func()) {
	resubscribe(ctx, func(ctx context.Context) error {
		stream, err := r.subscribe(ctx, sandboxEvents...)
		if err != nil { // it could not be opened
			return err
		}
		for wake(); ; wake() {
			if _, err = stream.Recv(); err != nil {
				return err
			}
		}
	})
}

// Stops uses the exits of all processes. That of a sandbox's container has the sandbox's ID. Callers must ignore IDs
// that are not sandboxes.
func (r *containerdRuntime) Stops(ctx context.Context, stopped func(string)) {
	resubscribe(ctx, func(ctx context.Context) error {
		stream, err := r.subscribe(ctx, taskExits)
		for err == nil {
			var e *types.Envelope
			if e, err = stream.Recv(); err != nil {
				break
			}
			var exit apievents.TaskExit
			if e.GetEvent() == nil || proto.Unmarshal(e.GetEvent().GetValue(), &exit) != nil {
				continue
			}
			if exit.GetID() == exit.GetContainerID() {
				stopped(exit.GetContainerID())
			}
		}
		return err
	})
}

func (r *containerdRuntime) subscribe(ctx context.Context, filters ...string) (events.Events_SubscribeClient, error) {
	return events.NewEventsClient(r.conn).Subscribe(inNamespace(ctx), &events.SubscribeRequest{Filters: filters})
}

func (r *containerdRuntime) Close() error { return r.conn.Close() }

// inNamespace adds the namespace of the request.
func inNamespace(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, namespaceHeader, criNamespace)
}
