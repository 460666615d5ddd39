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

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// said is what a pod was last told, as far as it must be known to say nothing twice: not after
// a restart of the agent either.
type said struct {
	Pod bond.Pod `json:"pod"`
	// Digest is of annotation and condition, without the condition's time; empty before the
	// first patch.
	Digest string `json:"digest,omitempty"`
	// Status is the condition's, Since when it became so.
	Status corev1.ConditionStatus `json:"status,omitempty"`
	Since  time.Time              `json:"since,omitzero"`
	// Bonds are those of the last patch, by their key.
	Bonds map[string]saidBond `json:"bonds,omitempty"`
	// Gone: the API server has no such pod, and will never have it again.
	Gone bool `json:"gone,omitempty"`
}

// saidBond is what events go by.
type saidBond struct {
	State   bond.State `json:"state"`
	Repairs int        `json:"repairs"`
}

// ledger keeps what was said in files, one a pod, called by the pod's UID. They are a memory
// and no truth: where one is missing or damaged the pod itself is asked.
type ledger struct{ dir string }

const ledgerSuffix = ".json"

func (l ledger) path(p bond.Pod) string { return filepath.Join(l.dir, p.UID+ledgerSuffix) }

// open makes the directory. What a killed agent was writing is cleared away.
func (l ledger) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of what was told: %w", err)
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("read the directory of what was told: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ledgerSuffix) {
			_ = os.Remove(filepath.Join(l.dir, e.Name())) // it only takes room
		}
	}
	return nil
}

// maxLedger bounds a file, in bytes.
const maxLedger = 1 << 20

// load is what the pod was told; nothing when there is no file that can be read.
func (l ledger) load(p bond.Pod) (said, error) {
	nothing := said{Pod: p}
	info, err := os.Lstat(l.path(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	if err != nil {
		return nothing, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLedger {
		return nothing, fmt.Errorf("%s: %s of %d bytes, want a regular file of %d at most", l.path(p), info.Mode(), info.Size(), maxLedger)
	}
	data, err := os.ReadFile(l.path(p))
	if err != nil {
		return nothing, err
	}
	var s said
	if err := json.Unmarshal(data, &s); err != nil {
		return nothing, fmt.Errorf("%s: %w", l.path(p), bond.DecodeError(err))
	}
	if s.Pod != p {
		return nothing, fmt.Errorf("%s: it is of pod %.64q", l.path(p), s.Pod.String())
	}
	return s, nil
}

// save replaces the pod's file. There is no fsync: what is lost with a crash of the machine is
// of the boot before.
func (l ledger) save(s said) (err error) {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(l.dir, s.Pod.UID+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), l.path(s.Pod))
}

// remove forgets a pod; to find no file is success.
func (l ledger) remove(p bond.Pod) error {
	if err := os.Remove(l.path(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// uids are the pods that have a file.
func (l ledger) uids() ([]string, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, e := range entries {
		if uid, ok := strings.CutSuffix(e.Name(), ledgerSuffix); ok {
			uids = append(uids, uid)
		}
	}
	return uids, nil
}
