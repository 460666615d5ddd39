package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bondkeeper/bondkeeper/test/image"
)

// pauseImage is the name of the image of which sandboxes are made.
const pauseImage = "bondkeeper.test/pause:1"

// timeout bounds every wait for an expected event. The guest's processors are slow.
const timeout = 4 * time.Minute

// Containerd is a real one with its own configuration, directories and socket. It is for one goroutine.
type Containerd struct {
	programs, dir string
	cmd           *exec.Cmd
	conn          *grpc.ClientConn
	CRI           cri.RuntimeServiceClient
}

// Dirs are the directories of its programs: those of make kube, make plugins.
type Dirs struct {
	Kube, CNI string
}

// NewContainerd starts a containerd with all its files under dir, and imports the image of the sandboxes.
func NewContainerd(ctx context.Context, programs Dirs, dir string) (*Containerd, error) {
	c := &Containerd{programs: programs.Kube, dir: dir}
	if err := c.configure(programs.CNI); err != nil {
		return nil, err
	}
	var err error
	if c.conn, err = grpc.NewClient("unix://"+c.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, err
	}
	c.CRI = cri.NewRuntimeServiceClient(c.conn)
	if err := c.Start(ctx, "root"); err != nil {
		return nil, err
	}
	archive := filepath.Join(dir, "pause.tar")
	if err := image.WriteBusybox(archive, pauseImage); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.Ctr(ctx, "images", "import", archive); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Socket is the path of its API and of its CRI.
func (c *Containerd) Socket() string { return filepath.Join(c.dir, "containerd.sock") }

func (c *Containerd) configure(cni string) error {
	conf := filepath.Join(c.dir, "net.d")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return err
	}
	network := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "cluster", "type": "ptp",
		"ipam": {"type": "host-local", "subnet": "10.88.0.0/24", "dataDir": %q}}`, filepath.Join(c.dir, "cluster-ipam"))
	if err := os.WriteFile(filepath.Join(conf, "cluster.conf"), []byte(network), 0o644); err != nil {
		return err
	}
	// Version 2 is that of containerd 1.7; 2.x migrates it.
	config := fmt.Sprintf(`version = 2
state = %q
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = %q
`, filepath.Join(c.dir, "state"), c.Socket(), pauseImage, cni, conf)
	return os.WriteFile(filepath.Join(c.dir, "config.toml"), []byte(config), 0o644)
}

// Start starts it with its previous state, and returns when it responds.
func (c *Containerd) Start(ctx context.Context, root string) error {
	log, err := os.OpenFile(filepath.Join(c.dir, "containerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c.cmd = exec.Command(filepath.Join(c.programs, "containerd"), "--config", filepath.Join(c.dir, "config.toml"), "--root", filepath.Join(c.dir, root)) //nolint:gosec // the one that is tested with
	c.cmd.Env = append(os.Environ(), "PATH="+c.programs+":"+os.Getenv("PATH"))
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("containerd (make kube builds it): %w", err)
	}
	return until(ctx, "containerd answers", func(ctx context.Context) error {
		_, err := c.CRI.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		return err
	})
}

// Kill ends it as kill -9 does. Sandboxes continue.
func (c *Containerd) Kill() error {
	err := c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it was killed
	return err
}

// Stall stops it (SIGSTOP), and returns when it has stopped.
func (c *Containerd) Stall() error {
	if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Resume continues it.
func (c *Containerd) Resume() error { return c.cmd.Process.Signal(unix.SIGCONT) }

// Ctr runs containerd's own tool in the namespace of the CRI.
func (c *Containerd) Ctr(ctx context.Context, args ...string) error {
	args = append([]string{"--address", c.Socket(), "--namespace", "k8s.io"}, args...)
	return run(ctx, filepath.Join(c.programs, "ctr"), args...)
}

// Close ends it. Remaining sandboxes end with the guest.
func (c *Containerd) Close() error { return errors.Join(c.Kill(), c.conn.Close()) }

// until repeats something until it succeeds; of what, is for the error.
func until(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for: %s: %w", what, err)
		}
	}
}

// run runs a command; the error contains its output.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
