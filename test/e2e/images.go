//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/bondkeeper/bondkeeper/test/image"
)

// The images of what runs in the pods, made here of Debian's static busybox. One serves as the sandbox's, too.
const (
	pauseImage    = "bondkeeper.test/pause:1"
	workloadImage = "bondkeeper.test/workload:1"
)

// writeBusybox writes an archive that ctr imports.
func writeBusybox(path string) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("static busybox (make deps installs it): %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(program); err != nil {
			return nil, err
		}
		return io.NopCloser(&b), w.Close()
	})
	if err != nil {
		return err
	}
	busybox, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{Entrypoint: []string{"/bin/busybox", "sleep", "inf"}},
	})
	if err != nil {
		return err
	}
	busybox, err = mutate.AppendLayers(busybox, layer)
	if err != nil {
		return err
	}
	images := map[name.Tag]v1.Image{}
	for _, n := range []string{pauseImage, workloadImage} {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		images[tag] = busybox
	}
	return tarball.MultiWriteToFile(path, images)
}

// agentImage is the name of the agent's image; its versions differ in what the programs say of themselves only.
func agentImage(version int) string { return fmt.Sprintf("bondkeeper.test/agent:%d", version) }

// writeAgent builds the agent's image as the Dockerfile says.
func (c *cluster) writeAgent(ctx context.Context, version int, path string) error {
	built, err := image.Build(ctx, image.Options{Root: c.top, Version: fmt.Sprintf("e2e-%d", version), Created: time.Unix(0, 0)}, runtime.GOARCH)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(agentImage(version))
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, tag, built)
}

// writeImages leaves the archives that the node imports in the shared directory.
func (c *cluster) writeImages(t *testing.T) {
	t.Helper()
	busybox := filepath.Join(c.share, "busybox.tar")
	if err := writeBusybox(busybox); err != nil {
		t.Fatal(err)
	}
	c.images = []string{busybox}
	for version := 1; version <= 2; version++ {
		path := filepath.Join(c.share, fmt.Sprintf("agent-%d.tar", version))
		if err := c.writeAgent(t.Context(), version, path); err != nil {
			t.Fatal(err)
		}
		c.images = append(c.images, path)
	}
}
