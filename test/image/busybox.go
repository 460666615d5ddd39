package image

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// WriteBusybox writes an archive that ctr imports, with one image under the given names: Debian's static
// busybox (make deps installs it), which sleeps until it is killed. It serves as a sandbox's image, too.
func WriteBusybox(path string, names ...string) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("static busybox (make deps installs it): %w", err)
	}
	layer, err := layerOf("bin/busybox", program, time.Unix(0, 0))
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
	if busybox, err = mutate.AppendLayers(busybox, layer); err != nil {
		return err
	}
	images := map[name.Tag]v1.Image{}
	for _, n := range names {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		images[tag] = busybox
	}
	return tarball.MultiWriteToFile(path, images)
}
