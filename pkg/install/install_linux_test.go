package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// foreign is another project's CNI plugin.
const foreign = "#!/bin/sh\n[ \"$CNI_COMMAND\" = VERSION ] || exit 1\necho '{\"cniVersion\":\"0.3.1\",\"supportedVersions\":[\"0.3.1\"]}'\n"

func install(t *testing.T, dir, source string) Result {
	t.Helper()
	r, err := Plugin(t.Context(), Config{Source: source, Dir: dir})
	kit.Must(t, err)
	return r
}

// files are the names in a directory, separated by blanks.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	kit.Must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0o755))
}

func TestInstallsOnceAndUpgrades(t *testing.T) {
	dir := t.TempDir()
	first := install(t, dir, v1)
	if !first.Changed || first.Version != "v1" || first.Backup != "" || first.Path != filepath.Join(dir, "bond") {
		t.Errorf("the first time: %+v", first)
	}
	before, err := os.Stat(first.Path)
	kit.Must(t, err)
	if before.Mode().Perm() != 0o755 {
		t.Errorf("mode %s", before.Mode())
	}
	again := install(t, dir, v1)
	after, err := os.Stat(first.Path)
	if err != nil || again.Changed || again.Version != "v1" || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the same again: %+v, written at %s and %s (%v)", again, before.ModTime(), after.ModTime(), err)
	}
	if r := install(t, dir, v2); !r.Changed || r.Version != "v2" || r.Backup != "" {
		t.Errorf("an upgrade: %+v", r)
	}
	if got := files(t, dir); got != "bond" {
		t.Errorf("left in the directory: %s", got)
	}
}

// An existing foreign plugin is needed for a rollback, and survives upgrades.
func TestForeignPluginIsBackedUp(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, Name), foreign)
	if r := install(t, dir, v1); r.Backup != filepath.Join(dir, Previous) {
		t.Errorf("%+v", r)
	}
	install(t, dir, v2)
	backup, err := os.ReadFile(filepath.Join(dir, Previous))
	if err != nil || string(backup) != foreign {
		t.Errorf("%.60q, %v", backup, err)
	}
	about, err := Probe(t.Context(), filepath.Join(dir, Previous))
	if err != nil || about.Version != "" || len(about.CNI) != 1 {
		t.Errorf("the way back: %+v, %v", about, err)
	}
	if got := files(t, dir); got != "bond bond.previous" {
		t.Errorf("left in the directory: %s", got)
	}
}

// TestForeignLinkIsBackedUp: the foreign plugin is a symbolic link whose target is outside what the installer sees.
func TestForeignLinkIsBackedUp(t *testing.T) {
	dir := t.TempDir()
	kit.Must(t, os.Symlink("/usr/libexec/not/mounted/bond", filepath.Join(dir, Name)))
	if r := install(t, dir, v1); r.Backup != filepath.Join(dir, Previous) {
		t.Errorf("%+v", r)
	}
	install(t, dir, v2)
	if target, err := os.Readlink(filepath.Join(dir, Previous)); err != nil || target != "/usr/libexec/not/mounted/bond" {
		t.Errorf("the backup is a link to %q, %v", target, err)
	}
	if got := files(t, dir); got != "bond bond.previous" {
		t.Errorf("left in the directory: %s", got)
	}
}

// A process that executes the plugin all the time finds one at every moment of every upgrade.
func TestNeverWithoutPlugin(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, v1)
	events, err := fsnotify.NewWatcher()
	kit.Must(t, err)
	defer func() { _ = events.Close() }()
	kit.Must(t, events.Add(dir))
	seen := make(chan []fsnotify.Op)
	go func() { seen <- eventsOf(events, Name, "end") }()
	runs := reader(t, filepath.Join(dir, Name))
	for i := range 20 {
		next(t, runs)
		install(t, dir, []string{v2, v1}[i%2])
		next(t, runs)
	}
	write(t, filepath.Join(dir, "end"), "")
	// The reader may be too slow to see it: each rename replaced the name, which was never removed.
	ops := <-seen
	for _, op := range ops {
		if op != fsnotify.Create {
			t.Errorf("the plugin's name: %s", op)
		}
	}
	if len(ops) != 20 {
		t.Errorf("%d changes of the plugin's name were seen, want 20", len(ops))
	}
}

// eventsOf collects the events of one name in a directory until another one appears there.
func eventsOf(w *fsnotify.Watcher, name, last string) []fsnotify.Op {
	var ops []fsnotify.Op
	for e := range w.Events {
		switch filepath.Base(e.Name) {
		case name:
			ops = append(ops, e.Op)
		case last:
			return ops
		}
	}
	return ops
}

// reader is the result of each execution of the plugin by another process, in order.
func reader(t *testing.T, plugin string) <-chan string {
	t.Helper()
	self, err := os.Executable()
	kit.Must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asReader+"="+plugin)
	in, err := cmd.StdinPipe()
	kit.Must(t, err)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	runs, done := make(chan string), make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case runs <- lines.Text():
			case <-t.Context().Done():
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		<-done
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return runs
}

func next(t *testing.T, runs <-chan string) {
	t.Helper()
	if r := <-runs; r != "ok" {
		t.Errorf("a run of the plugin: %s", r)
	}
}

// An installer that is killed leaves the previous plugin, and a file that the next one removes.
func TestKilledInstaller(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, v1)
	left, err := writeTemp(dir, []byte("half of a plu"))
	kit.Must(t, err)
	if _, err := Probe(t.Context(), filepath.Join(dir, Name)); err != nil {
		t.Error(err)
	}
	install(t, dir, v1)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

// Two installers take turns, so that none removes the other's file.
func TestInstallersExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir)
	kit.Must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := Plugin(ctx, Config{Source: v1, Dir: dir})
		done <- err
	}()
	cancel(errors.New("the pod is deleted"))
	if err := <-done; err == nil || !strings.Contains(err.Error(), "another installer") || !strings.Contains(err.Error(), "the pod is deleted") {
		t.Errorf("while another is at work: %v", err)
	}
	go func() {
		_, err := Plugin(t.Context(), Config{Source: v1, Dir: dir})
		done <- err
	}()
	unlock()
	if err := <-done; err != nil {
		t.Errorf("after another was at work: %v", err)
	}
}

// If the installation fails, existing files stay, and the error contains the remedy.
func TestRejects(t *testing.T) {
	program, err := os.ReadFile(v2)
	kit.Must(t, err)
	arm := append([]byte(nil), program...)
	arm[18], arm[19] = 183, 0 // e_machine: EM_AARCH64
	tests := []struct {
		name, source, want string
	}{
		{"another machine", string(arm), "built for arm64 and this node is"},
		{"no program", "bond", "not a program for Linux"},
		{"no plugin", "#!/bin/sh\necho hello\n", "is not a CNI plugin"},
		{"a plugin that fails", "#!/bin/sh\necho broken >&2; exit 3\n", "broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, source := t.TempDir(), filepath.Join(t.TempDir(), "source")
			write(t, source, tt.source)
			install(t, dir, v1)
			_, err := Plugin(t.Context(), Config{Source: source, Dir: dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			intact(t, dir)
		})
	}
}

// intact checks that v1 is there, and nothing else.
func intact(t *testing.T, dir string) {
	t.Helper()
	if about, err := Probe(t.Context(), filepath.Join(dir, Name)); err != nil || about.Version != "v1" {
		t.Errorf("there is %+v, %v", about, err)
	}
	if got := files(t, dir); got != "bond" {
		t.Errorf("left in the directory: %s", got)
	}
}

// Problems with the directory are reported with the remedy.
func TestBadDirectory(t *testing.T) {
	info, err := os.Stat(v1)
	kit.Must(t, err)
	full := tmpfs(t, info.Size()*3/2)
	install(t, full, v1)
	readOnly := tmpfs(t, info.Size()*3)
	install(t, readOnly, v1)
	kit.Must(t, unix.Mount("", readOnly, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for dir, want := range map[string]string{full: "make room", readOnly: "mounted read-only"} {
		if _, err := Plugin(t.Context(), Config{Source: v2, Dir: dir}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v, want %q", err, want)
		}
		intact(t, dir)
	}
	noexec := tmpfs(t, info.Size()*3)
	kit.Must(t, unix.Mount("", noexec, "", unix.MS_REMOUNT|unix.MS_NOEXEC, ""))
	if _, err := Plugin(t.Context(), Config{Source: v2, Dir: noexec}); err == nil || !strings.Contains(err.Error(), "noexec") || files(t, noexec) != "" {
		t.Errorf("a file system without programs: %v; left: %s", err, files(t, noexec))
	}
	if _, err := Plugin(t.Context(), Config{Source: v2, Dir: filepath.Join(noexec, "none")}); err == nil || !strings.Contains(err.Error(), "mount the node's there") {
		t.Errorf("no directory: %v", err)
	}
}

// tmpfs is a small file system.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a small file system (this needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
