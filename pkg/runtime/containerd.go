package runtime

import (
	"context"
	"fmt"

	apievents "github.com/containerd/containerd/api/events"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
)

// criNamespace is where containerd keeps what its CRI made (k8sContainerdNamespace in
// internal/cri/constants).
const criNamespace = "k8s.io"

// sandboxContainers are the containers that stand for a sandbox; the label is the CRI plugin's.
const sandboxContainers = `labels."io.cri-containerd.kind"==sandbox`

// podContainers are the containers of pods. Each names its sandbox since containerd 1.7 (WithSandbox in
// internal/cri/server/container_create.go); an older one's shows nothing here.
const podContainers = `labels."io.cri-containerd.kind"==container`

// sandboxEvents are those after which a sandbox may be gone. The exit of a task is none:
// a sandbox whose process has died is there until somebody removes it.
var sandboxEvents = []string{
	`namespace==k8s.io,topic=="/containers/delete"`,
	`namespace==k8s.io,topic=="/sandboxes/exit"`,
}

// taskExits are the exits of processes.
const taskExits = `namespace==k8s.io,topic=="/tasks/exit"`

type containerdRuntime struct {
	client   *containerd.Client
	endpoint string
}

func openContainerd(socket string) (*containerdRuntime, error) {
	c, err := containerd.New(socket, containerd.WithDefaultNamespace(criNamespace), containerd.WithTimeout(reconnectWithin))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", socket, err)
	}
	return &containerdRuntime{client: c, endpoint: socket}, nil
}

// Sandboxes joins two lists. A sandbox is in the sandbox store (containerd 1.7 and later) from
// before its netns is made, but not one that an older containerd made; its container is there
// only once CNI has returned, and never where the runtime needs none.
func (r *containerdRuntime) Sandboxes(ctx context.Context) ([]string, error) {
	containers, err := r.client.ContainerService().List(ctx, sandboxContainers)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list sandbox containers: %w", r.endpoint, err)
	}
	var ids []string
	for i := range containers {
		ids = append(ids, containers[i].ID)
	}
	sandboxes, err := r.client.SandboxStore().List(ctx)
	if err != nil && !errdefs.IsNotImplemented(err) {
		return nil, fmt.Errorf("containerd at %s: list sandboxes: %w", r.endpoint, err)
	}
	for i := range sandboxes {
		ids = append(ids, sandboxes[i].ID)
	}
	return unique(ids), nil
}

// Populated does not go by the container that stands for a sandbox: with a user namespace that one runs before CNI.
func (r *containerdRuntime) Populated(ctx context.Context) ([]string, error) {
	containers, err := r.client.ContainerService().List(ctx, podContainers)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list containers: %w", r.endpoint, err)
	}
	var ids []string
	for i := range containers {
		if id := containers[i].SandboxID; id != "" {
			ids = append(ids, id)
		}
	}
	return unique(ids), nil
}

func (r *containerdRuntime) Events(ctx context.Context, wake func()) {
	follow(ctx, func(ctx context.Context) error {
		events, errs := r.client.Subscribe(ctx, sandboxEvents...)
		select {
		case err := <-errs: // it was not opened
			return err
		default:
		}
		for wake(); ; wake() {
			select {
			case <-events:
			case err := <-errs:
				return err
			}
		}
	})
}

// Stops hears the exits of all processes, of which the first of a sandbox's container counts: that container has the
// sandbox's ID. Which IDs are sandboxes is left to the caller.
func (r *containerdRuntime) Stops(ctx context.Context, stopped func(string)) {
	follow(ctx, func(ctx context.Context) error {
		events, errs := r.client.Subscribe(ctx, taskExits)
		for {
			select {
			case e := <-events:
				var exit apievents.TaskExit
				if e.Event == nil || proto.Unmarshal(e.Event.GetValue(), &exit) != nil {
					continue
				}
				if exit.GetID() == exit.GetContainerID() {
					stopped(exit.GetContainerID())
				}
			case err := <-errs:
				return err
			}
		}
	})
}

func (r *containerdRuntime) Close() error { return r.client.Close() }
