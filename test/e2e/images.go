//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
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
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{Entrypoint: []string{"/bin/busybox", "sleep", "inf"}},
	})
	if err != nil {
		return err
	}
	image, err = mutate.AppendLayers(image, layer)
	if err != nil {
		return err
	}
	images := map[name.Tag]v1.Image{}
	for _, n := range []string{pauseImage, workloadImage} {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		images[tag] = image
	}
	return tarball.MultiWriteToFile(path, images)
}

// writeImages leaves the archives that the node imports in the shared directory.
func (c *cluster) writeImages(t *testing.T) {
	t.Helper()
	c.images = []string{filepath.Join(c.share, "busybox.tar")}
	if err := writeBusybox(c.images[0]); err != nil {
		t.Fatal(err)
	}
}
