package heal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"

	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// leasesDir is where host-local stores the addresses that it has allocated.
const leasesDir = "/var/lib/cni/networks"

// maxAttempts is how often DEL of the bond is called before the row fails.
const maxAttempts = 3

// Ends are the attacks again, with the attacked pod's DEL during each. The DEL must succeed, the pod's VFs must return
// to the host, and nothing may be left. All but one run in make hostile only.
func Ends(long bool) []Fault {
	var faults []Fault
	for _, a := range attacks() {
		if !long && !a.endsShort {
			continue
		}
		faults = append(faults, Fault{Name: "DEL during: " + a.name, Expect: "DEL succeeds, nothing left, others untouched", Agent: []string{"--resync", "2s"}, run: a.runEnd})
	}
	return faults
}

// runEnd attacks the third pod instead of pod A, whose netns the pings keep.
func (a attack) runEnd(ctx context.Context, s *faultRun) error {
	r := s.r
	bystander, c := r.A, r.brief
	r.A, r.brief = c, bystander
	defer func() { r.A, r.brief = bystander, c }()
	if err := s.addThird(ctx, c); err != nil {
		return err
	}
	others, err := s.watchOthers(ctx)
	if err != nil {
		return err
	}
	var undo func() error
	err = s.fault(a.name, func() (err error) { undo, err = s.attack(ctx, a.do); return err })
	if err == nil {
		err = s.deleteUnderAttack(ctx, c)
	}
	if undo != nil {
		err = errors.Join(err, undo())
	}
	err = errors.Join(err, ip(ctx, "netns del %s", c.Name))
	for _, m := range c.members {
		err = errors.Join(err, s.inHost(ctx, m.pci))
	}
	if err = errors.Join(err, others.unchanged(ctx), r.restoreNames(ctx)); err != nil {
		return err
	}
	return s.awaitRecovery(ctx, bystander, r.B)
}

// addThird makes the third pod and waits until its set-up is complete.
func (s *faultRun) addThird(ctx context.Context, c *Pod) error {
	if err := errors.Join(c.prepareVFs(ctx), c.add(ctx)); err != nil { // the VFs may have been reset with their card since the start
		return err
	}
	if err := s.r.baselineOf(ctx, c); err != nil {
		return err
	}
	if _, _, err := s.r.log.await(ctx, c.added, func(l Line) bool { return l.Msg == "pod set-up complete" && c.is(l) }); err != nil {
		return errWaited("the end of the set-up of pod "+c.Name, err)
	}
	return nil
}

// deleteUnderAttack calls DEL of the bond as a runtime does, and checks that no trace is left.
func (s *faultRun) deleteUnderAttack(ctx context.Context, c *Pod) error {
	var err error
	for n := 1; n <= maxAttempts; n++ {
		if err = c.delBond(ctx); err == nil {
			s.result.Outcome = fmt.Sprintf("DEL succeeded at attempt %d", n)
			break
		}
		s.logf("DEL, attempt %d: %v", n, err)
	}
	if err != nil {
		return err
	}
	return c.awaitNoTraces(ctx)
}

// awaitNoTraces waits while a lock file is the only trace: a reconcile that ran during or after DEL holds it, finds no
// record, and removes the file.
func (p *Pod) awaitNoTraces(ctx context.Context) error {
	locks := filepath.Join(store.DefaultDir, "locks")
	return awaitFiles(ctx, locks, func() (string, error) {
		left, err := p.traces()
		if err != nil || len(left) == 0 {
			return "", err
		}
		if slices.ContainsFunc(left, func(f string) bool { return filepath.Dir(f) != locks }) {
			return "", fmt.Errorf("left after DEL: %s", strings.Join(left, ", "))
		}
		return "the removal of " + strings.Join(left, ", "), nil
	})
}

// awaitFiles waits until missing returns "" or an error. It is called again after each change in the directory, and
// describes what is waited for.
func awaitFiles(ctx context.Context, dir string, missing func() (string, error)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if err = w.Add(dir); err != nil {
		return err
	}
	for {
		what, err := missing()
		if err != nil || what == "" {
			return err
		}
		select {
		case <-w.Events:
		case err = <-w.Errors:
			return err
		case <-ctx.Done():
			return errWaited(what, context.Cause(ctx))
		}
	}
}

// traces are the pod's files in the state directory and in IPAM's.
func (p *Pod) traces() (found []string, err error) {
	for _, dir := range []string{store.DefaultDir, leasesDir} {
		err = errors.Join(err, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() { // removed meanwhile
				return nil
			}
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil && (strings.Contains(path, p.id) || strings.Contains(string(text), p.id)) {
				found = append(found, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}))
	}
	return found, err
}
