package status_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// TestRestart: a restarted agent sends nothing, in whatever order the bonds are reported. Without its files it checks
// each pod once.
func TestRestart(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("files lost ", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				dir := t.TempDir()
				p, q := podN(1), podN(2)
				s.add(p)
				s.add(q)
				one, two, other := bondOf(p, "bond0"), lose(bondOf(p, "bond1")), bondOf(q, "bond0")
				r, stop := start(t, s, status.Config{Dir: dir})
				for _, b := range []bond.Status{one, two, other} {
					r.Report(b)
				}
				pass(time.Minute)
				wantCalls(t, s, 2, 2)
				before, events := s.pod(p), len(s.reasons())
				stop()
				checks := 0
				if lost {
					dir, checks = t.TempDir(), 2
				}
				r, _ = start(t, s, status.Config{Dir: dir})
				r.Report(two)
				r.Report(other)
				pass(20 * time.Second)
				r.Report(one)
				pass(time.Hour)
				if lost {
					l, n := s.count() // the first bond was reported alone: the others were not known yet
					if l != checks || n > 2 {
						t.Errorf("%d checks, %d patches", l, n)
					}
				} else {
					wantCalls(t, s, 0, 0)
					if n := len(s.reasons()); n != events {
						t.Errorf("%d events after the restart", n-events)
					}
				}
				if a, b := before.Annotations[v1.Annotation], s.pod(p).Annotations[v1.Annotation]; a != b {
					t.Errorf("reported %s\nbefore %s", b, a)
				}
				if a, b := condition(t, before), condition(t, s.pod(p)); a != b {
					t.Errorf("condition %+v, before %+v", b, a)
				}
				two = lose(two)
				r.Report(down(two))
				synctest.Wait()
				wantCalls(t, s, 0, 1)
				wantCondition(t, s.pod(p), corev1.ConditionFalse, "Down")
			})
		})
	}
}

// TestRestartAfterABondEnded: a bond that was deleted while no agent ran is waited for only until the timeout.
func TestRestartAfterABondEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		dir := t.TempDir()
		p := podN(1)
		s.add(p)
		r, stop := start(t, s, status.Config{Dir: dir})
		r.Report(bondOf(p, "bond0"))
		r.Report(bondOf(p, "bond1"))
		r.Report(bondOf(podN(2), "bond0")) // its pod does not exist, and ends while no agent runs
		pass(time.Minute)
		s.count()
		stop()
		r, _ = start(t, s, status.Config{Dir: dir})
		r.Report(bondOf(p, "bond0"))
		pass(25 * time.Second)
		wantCalls(t, s, 0, 0)
		pass(time.Minute)
		wantCalls(t, s, 0, 1)
		if list := s.reported(p); len(list) != 1 {
			t.Errorf("reported: %+v", list)
		}
		pass(time.Hour)
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 || filepath.Base(files[0]) != p.UID+".json" {
			t.Errorf("files %v (%v), want that of the existing pod", files, err)
		}
	})
}

// TestDamagedFile: a file that is damaged, or of another pod, has the same effect as no file.
func TestDamagedFile(t *testing.T) {
	p := podN(1)
	for name, content := range map[string]string{
		"cut off":     `{"digest":`,
		"another pod": `{"pod":{"namespace":"demo","name":"other","uid":"` + p.UID + `"},"gone":true}`,
		"too large":   strings.Repeat(" ", 2<<20) + `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				dir := t.TempDir()
				s.add(p)
				for _, file := range []string{p.UID + ".json", p.UID + ".123.tmp"} {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				r, _ := start(t, s, status.Config{Dir: dir})
				r.Report(bondOf(p, "bond0"))
				pass(time.Minute)
				wantCalls(t, s, 1, 1)
				if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
					t.Errorf("files: %v %v", files, err)
				}
			})
		})
	}
}

// TestDirectoryAmongRecords: the reporter's directory may be in the directory of the records. It is not taken for a
// record.
func TestDirectoryAmongRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, err := store.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := newServer(t)
		s.add(podN(1))
		r, _ := start(t, s, status.Config{Dir: filepath.Join(records.Dir(), "reported")})
		r.Report(bondOf(podN(1), "bond0"))
		pass(time.Minute)
		wantCalls(t, s, 1, 1)
		list, problems, err := records.List(t.Context())
		if len(list) != 0 || len(problems) != 0 || err != nil {
			t.Errorf("records %v, problems %v, %v", list, problems, err)
		}
		if _, isRecord := store.KeyOf("reported"); isRecord {
			t.Error("the directory has a record's name")
		}
	})
}

// TestPodNotFound: a pod that does not exist, or has another UID, is requested once, also if the agent restarts.
func TestPodNotFound(t *testing.T) {
	for _, name := range []string{"deleted", "other UID"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				dir := t.TempDir()
				p := podN(1)
				if name == "other UID" {
					other := p
					other.UID = "another"
					s.add(other)
				}
				r, stop := start(t, s, status.Config{Dir: dir})
				b := bondOf(p, "bond0")
				for range 50 {
					b.Repairs++
					r.Report(b)
					pass(time.Minute)
				}
				wantCalls(t, s, 1, 0)
				stop()
				r, _ = start(t, s, status.Config{Dir: dir})
				r.Report(b)
				pass(time.Hour)
				wantCalls(t, s, 0, 0)
				if name == "other UID" && s.reported(p) != nil {
					t.Error("the other pod was patched")
				}
			})
		})
	}
}

// TestInvalidPod: bonds without a pod, or with a name that no pod can have, are not reported.
func TestInvalidPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		for _, p := range []bond.Pod{
			{}, {Namespace: "demo", Name: "p"}, {Namespace: "demo", UID: "u"}, {Name: "p", UID: "u"},
			{Namespace: "demo", Name: "p", UID: "../../x"}, {Namespace: "..", Name: "p", UID: "u"}, {Namespace: "demo", Name: "a/b", UID: "u"},
		} {
			b := bondOf(p, "bond0")
			b.Key.ContainerID = "c1"
			r.Report(b)
			r.Report(b)
			pass(time.Minute)
			r.Forget(b.Key)
		}
		wantCalls(t, s, 0, 0)
	})
}

// TestForget: after one of two bonds ended the other is reported alone, but not at once. At a pod's end both go, one by
// one.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		one, two := bondOf(p, "bond0"), bondOf(p, "bond1")
		both := func() {
			r.Report(one)
			r.Report(two)
			pass(time.Minute)
			s.count()
		}
		both()
		r.Forget(one.Key)
		pass(time.Minute)
		wantCalls(t, s, 0, 1)
		if list := s.reported(p); len(list) != 1 || list[0].Interface != "bond1" {
			t.Errorf("reported %+v", list)
		}
		both()
		gone := one
		gone.State = bond.StateDeleting
		r.Report(gone)
		pass(5 * time.Second)
		r.Forget(one.Key)
		r.Forget(two.Key)
		r.Forget(two.Key)
		pass(time.Minute)
		wantCalls(t, s, 0, 0)
	})
}

// TestNewSandbox: if a pod's sandbox was recreated and the old one is not released yet, the bond of the new one counts,
// in whatever order they are reported.
func TestNewSandbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		dead, live := down(bondOf(p, "bond0")), bondOf(p, "bond0")
		live.Key.ContainerID = "new"
		r.Report(live)
		r.Report(dead)
		pass(time.Minute)
		wantCondition(t, s.pod(p), corev1.ConditionTrue, "AllReady")
		dead.Reason = "reported later"
		r.Report(down(live)) // both are down: the one that was reported later counts as the newer
		r.Report(dead)
		pass(time.Minute)
		if list := s.reported(p); len(list) != 1 || list[0].Reason != dead.Reason {
			t.Errorf("reported %+v", list)
		}
		s.count()
		r.Forget(dead.Key)
		r.Report(live)
		pass(time.Minute)
		wantCondition(t, s.pod(p), corev1.ConditionTrue, "AllReady")
	})
}

// TestPreviousDir: the checkpoints of an earlier version's directory are used, and replace those of Dir, which are
// older.
func TestPreviousDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		state := t.TempDir()
		now, before := filepath.Join(state, "now"), filepath.Join(state, "before")
		p := podN(1)
		s.add(p)
		run := func(dir string, b bond.Status) {
			r, stop := start(t, s, status.Config{Dir: dir, PreviousDir: before})
			r.Report(b)
			pass(time.Minute)
			stop()
		}
		b := bondOf(p, "bond0")
		lost := lose(b)
		run(now, b)
		wantCalls(t, s, 1, 1)
		// The earlier version runs for a while.
		r, stop := start(t, s, status.Config{Dir: before})
		r.Report(lost)
		pass(time.Minute)
		stop()
		wantCalls(t, s, 1, 1)
		run(now, lost)
		wantCalls(t, s, 0, 0)
		if _, err := os.Lstat(before); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the earlier directory: %v, want none", err)
		}
		run(now, b)
		wantCalls(t, s, 0, 1)
	})
}
