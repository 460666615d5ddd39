package runtime

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage bounds a list of sandboxes, in bytes; the kubelet has the same limit.
const maxMessage = 16 << 20

type criRuntime struct {
	conn     *grpc.ClientConn
	client   cri.RuntimeServiceClient
	endpoint string
}

func openCRI(socket string) (*criRuntime, error) {
	retry := backoff.DefaultConfig
	retry.MaxDelay = reconnectWithin
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: reconnectWithin}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), endMoved(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("CRI at %s: %w", socket, err)
	}
	return &criRuntime{conn: conn, client: cri.NewRuntimeServiceClient(conn), endpoint: socket}, nil
}

// Sandboxes uses no filter, so that sandboxes that are not ready are listed as well: the kubelet may still stop them.
func (r *criRuntime) Sandboxes(ctx context.Context) ([]string, error) {
	response, err := r.client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("CRI at %s: list sandboxes: %w", r.endpoint, err)
	}
	var ids []string
	for _, s := range response.GetItems() {
		ids = append(ids, s.GetId())
	}
	return sortedUnique(ids), nil
}

// Populated uses no filter: a container that has exited counts as well.
func (r *criRuntime) Populated(ctx context.Context) ([]string, error) {
	response, err := r.client.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("CRI at %s: list containers: %w", r.endpoint, err)
	}
	var ids []string
	for _, c := range response.GetContainers() {
		ids = append(ids, c.GetPodSandboxId())
	}
	return sortedUnique(ids), nil
}

// Events needs GetContainerEvents, which not every runtime supports (CRI-O: enable_pod_events). Without it there are no
// events, and callers must poll.
func (r *criRuntime) Events(ctx context.Context, wake func()) {
	resubscribe(ctx, func(ctx context.Context) error {
		stream, err := r.client.GetContainerEvents(ctx, &cri.GetEventsRequest{})
		if err != nil {
			return err
		}
		wake()
		for {
			e, err := stream.Recv()
			if err != nil {
				return err
			}
			if e.GetContainerEventType() == cri.ContainerEventType_CONTAINER_DELETED_EVENT {
				wake()
			}
		}
	})
}

// Stops needs the same events. A sandbox's own container has the sandbox's ID.
func (r *criRuntime) Stops(ctx context.Context, stopped func(string)) {
	resubscribe(ctx, func(ctx context.Context) error {
		stream, err := r.client.GetContainerEvents(ctx, &cri.GetEventsRequest{})
		if err != nil {
			return err
		}
		for {
			e, err := stream.Recv()
			if err != nil {
				return err
			}
			if id := e.GetContainerId(); e.GetContainerEventType() == cri.ContainerEventType_CONTAINER_STOPPED_EVENT && id == e.GetPodSandboxStatus().GetId() {
				stopped(id)
			}
		}
	})
}

func (r *criRuntime) Close() error { return r.conn.Close() }

// sortedUnique sorts the IDs and removes duplicates.
func sortedUnique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}
