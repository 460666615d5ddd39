package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/atomicfile"
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// podCheckpoint is what was last reported on a pod. It outlives a restart of the agent, so that nothing is reported
// twice.
type podCheckpoint struct {
	Pod bond.Pod `json:"pod"`
	// Digest covers annotation and condition without the condition's time; empty before the first patch.
	Digest string `json:"digest,omitempty"`
	// Status is the condition's status, and Since the time of its last transition.
	Status corev1.ConditionStatus `json:"status,omitempty"`
	Since  time.Time              `json:"since,omitzero"`
	// Bonds has the bonds of the last patch by key.
	Bonds map[string]bondCheckpoint `json:"bonds,omitempty"`
	// NotFound: the API server has no such pod, and will not have it later.
	NotFound bool `json:"gone,omitempty"`
}

// bondCheckpoint is the state that events are derived from.
type bondCheckpoint struct {
	State   bond.State `json:"state"`
	Repairs int        `json:"repairs"`
}

// checkpoints stores one file per pod, named by the pod's UID. They are a cache: if one is missing or damaged, the
// state is read from the pod.
type checkpoints struct{ dir string }

const checkpointSuffix = ".json"

func (c checkpoints) path(p bond.Pod) string { return filepath.Join(c.dir, p.UID+checkpointSuffix) }

// open makes the directory and removes temporary files of an agent that was killed.
func (c checkpoints) open() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of status checkpoints: %w", err)
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("read the directory of status checkpoints: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), checkpointSuffix) {
			_ = os.Remove(filepath.Join(c.dir, e.Name())) // it only takes space
		}
	}
	return nil
}

// maxCheckpoint bounds a file, in bytes.
const maxCheckpoint = 1 << 20

// load returns the pod's checkpoint, empty if there is no readable file.
func (c checkpoints) load(p bond.Pod) (podCheckpoint, error) {
	empty := podCheckpoint{Pod: p}
	info, err := os.Lstat(c.path(p))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCheckpoint {
		return empty, fmt.Errorf("%s: %s of %d bytes, want a regular file of %d at most", c.path(p), info.Mode(), info.Size(), maxCheckpoint)
	}
	data, err := os.ReadFile(c.path(p))
	if err != nil {
		return empty, err
	}
	var s podCheckpoint
	if err := json.Unmarshal(data, &s); err != nil {
		return empty, fmt.Errorf("%s: %w", c.path(p), bond.DecodeError(err))
	}
	if s.Pod != p {
		return empty, fmt.Errorf("%s: it is of pod %.64q", c.path(p), s.Pod.String())
	}
	return s, nil
}

// save replaces the pod's file. No fsync is needed: after a crash of the machine there are other pods.
func (c checkpoints) save(s podCheckpoint) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return atomicfile.Replace(c.path(s.Pod), c.dir, s.Pod.UID+".*.tmp", data)
}

// remove deletes the pod's file, if there is one.
func (c checkpoints) remove(p bond.Pod) error {
	if err := os.Remove(c.path(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// uids returns the UIDs that have a file.
func (c checkpoints) uids() ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, e := range entries {
		if uid, ok := strings.CutSuffix(e.Name(), checkpointSuffix); ok {
			uids = append(uids, uid)
		}
	}
	return uids, nil
}
