package sandbox

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pauseImage is the name of the image of which sandboxes are made.
const pauseImage = "bondkeeper.test/pause:1"

// writePauseImage writes an archive that ctr imports: Debian's static busybox, which sleeps.
func writePauseImage(path string) error {
	layer, err := tarball.LayerFromOpener(busybox)
	if err != nil {
		return err
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, Config: v1.Config{Entrypoint: []string{"/busybox", "sleep", "inf"}},
	})
	if err != nil {
		return err
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return err
	}
	tag, err := name.NewTag(pauseImage)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, tag, image)
}

// busybox is a layer with nothing else.
func busybox() (io.ReadCloser, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("static busybox (make deps installs it): %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err = w.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err = w.Write(program); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), w.Close()
}
