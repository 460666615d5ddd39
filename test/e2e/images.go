//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/bondkeeper/bondkeeper/test/image"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The images of the pods. One also serves as the sandbox's.
const (
	pauseImage    = "bondkeeper.test/pause:1"
	workloadImage = "bondkeeper.test/workload:1"
)

// agentImage is the name of the agent's image; versions differ only in the version that the programs report.
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

// writeImages writes the archives that the node imports to the shared directory.
func (c *cluster) writeImages(t *testing.T) {
	t.Helper()
	busybox := filepath.Join(c.share, "busybox.tar")
	kit.Must(t, image.WriteBusybox(busybox, pauseImage, workloadImage))
	c.images = []string{busybox}
	for version := 1; version <= 2; version++ {
		path := filepath.Join(c.share, fmt.Sprintf("agent-%d.tar", version))
		kit.Must(t, c.writeAgent(t.Context(), version, path))
		c.images = append(c.images, path)
	}
}
