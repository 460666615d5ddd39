package runtime

import (
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// manyContainers are containers of one pod, each with the spec of a long environment.
type manyContainers struct {
	containersapi.UnimplementedContainersServer
	number, spec int
	// heap is what this process has in memory when all but the last few were received.
	heap uint64
}

func (m *manyContainers) ListStream(_ *containersapi.ListContainersRequest, stream containersapi.Containers_ListStreamServer) error {
	for i := range m.number {
		c := &containersapi.Container{ID: fmt.Sprint(i), Sandbox: "s", Spec: &anypb.Any{Value: make([]byte, m.spec)}}
		if err := stream.Send(&containersapi.ListContainerMessage{Container: c}); err != nil {
			return err
		}
	}
	m.heap = heapInUse()
	return nil
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestSpecsAreNotRetained: a list takes no memory for the environments of containers, which the author of a pod chooses.
func TestSpecsAreNotRetained(t *testing.T) {
	many := &manyContainers{number: 100, spec: 1 << 20}
	server := grpc.NewServer()
	containersapi.RegisterContainersServer(server, many)
	socket := filepath.Join(t.TempDir(), "runtime.sock")
	l, err := net.Listen("unix", socket)
	kit.Must(t, err)
	go func() { _ = server.Serve(l) }() // until Stop
	t.Cleanup(server.Stop)
	r := open(t, "containerd://"+socket)
	before := heapInUse()
	ids, err := r.Populated(t.Context())
	kit.Must(t, err)
	if retained := int64(many.heap) - int64(before); len(ids) != 1 || retained > 30<<20 { //nolint:gosec // far below
		t.Errorf("%d sandboxes; the list of %d MiB takes %d", len(ids), many.number*many.spec>>20, retained>>20)
	}
}
