package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	apievents "github.com/containerd/containerd/api/events"
	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// criNamespace is the containerd namespace of its CRI plugin (k8sContainerdNamespace in internal/cri/constants).
const criNamespace = "k8s.io"

// sandboxContainers are the containers that represent a sandbox; the label is the CRI plugin's.
const sandboxContainers = `labels."io.cri-containerd.kind"==sandbox`

// podContainers are the containers of pods.
const podContainers = `labels."io.cri-containerd.kind"==container`

// criMetadata is the extension with the CRI plugin's own metadata of a container, as JSON (containerMetadataExtension,
// and Metadata in store/container/metadata.go of the CRI plugin; the same in 1.6, 1.7 and 2.x).
const criMetadata = "io.cri-containerd.container.metadata"

// sandboxEvents are those after which a sandbox may be gone. A task exit is not one: a sandbox whose process has ended
// remains until it is removed.
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
	c, err := containerd.New(socket, containerd.WithDefaultNamespace(criNamespace), containerd.WithTimeout(reconnectWithin),
		containerd.WithExtraDialOpts([]grpc.DialOption{endMoved()}))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", socket, err)
	}
	return &containerdRuntime{client: c, endpoint: socket}, nil
}

// Sandboxes joins two lists. The sandbox store (containerd 1.7 and later) has a sandbox before its netns is made, but
// none that an older containerd made. A sandbox's container exists only after CNI has returned, and never if the
// runtime needs none.
func (r *containerdRuntime) Sandboxes(ctx context.Context) ([]string, error) {
	var ids []string
	err := r.eachContainer(ctx, sandboxContainers, func(c *containersapi.Container) error {
		ids = append(ids, c.GetID())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list sandbox containers: %w", r.endpoint, err)
	}
	sandboxes, err := r.client.SandboxStore().List(ctx)
	if err != nil && !errdefs.IsNotImplemented(err) {
		return nil, fmt.Errorf("containerd at %s: list sandboxes: %w", r.endpoint, err)
	}
	for i := range sandboxes {
		ids = append(ids, sandboxes[i].ID)
	}
	return sortedUnique(ids), nil
}

// Populated ignores the containers that represent sandboxes: with a user namespace such a container runs before CNI.
func (r *containerdRuntime) Populated(ctx context.Context) ([]string, error) {
	var ids []string
	err := r.eachContainer(ctx, podContainers, func(c *containersapi.Container) error {
		id, err := sandboxOf(c)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: list containers: %w", r.endpoint, err)
	}
	return sortedUnique(ids), nil
}

// eachContainer calls each with the containers that match a filter, one after the other. The client's list keeps all of
// them, with their specs, and the author of a pod decides how many containers it has and how long their environment is.
func (r *containerdRuntime) eachContainer(ctx context.Context, filter string, each func(*containersapi.Container) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	conn, is := r.client.Conn().(grpc.ClientConnInterface)
	if !is {
		return errors.New("the client has no gRPC connection")
	}
	list, err := containersapi.NewContainersClient(conn).ListStream(ctx, &containersapi.ListContainersRequest{Filters: []string{filter}})
	if err != nil {
		return err
	}
	for {
		m, err := list.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = each(m.GetContainer())
		}
		if err != nil {
			return err
		}
	}
}

// sandboxOf returns the sandbox of a pod's container. containerd 2.x has it in a field (WithSandbox). Before, only the
// CRI plugin's metadata have it.
func sandboxOf(c *containersapi.Container) (string, error) {
	if c.GetSandbox() != "" {
		return c.GetSandbox(), nil
	}
	var versioned struct {
		Metadata struct{ SandboxID string }
	}
	if e := c.GetExtensions()[criMetadata]; e != nil {
		if err := json.Unmarshal(e.GetValue(), &versioned); err != nil {
			return "", fmt.Errorf("metadata of container %s: %w", c.GetID(), err)
		}
	}
	if versioned.Metadata.SandboxID == "" {
		return "", fmt.Errorf("container %s of a pod names no sandbox", c.GetID())
	}
	return versioned.Metadata.SandboxID, nil
}

func (r *containerdRuntime) Events(ctx context.Context, wake func()) {
	resubscribe(ctx, func(ctx context.Context) error {
		events, errs := r.client.Subscribe(ctx, sandboxEvents...)
		select {
		case err := <-errs: // it could not be opened
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

// Stops uses the exits of all processes. That of a sandbox's container has the sandbox's ID. Callers must ignore IDs
// that are not sandboxes.
func (r *containerdRuntime) Stops(ctx context.Context, stopped func(string)) {
	resubscribe(ctx, func(ctx context.Context) error {
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
