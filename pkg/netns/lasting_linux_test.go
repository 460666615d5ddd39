package netns_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// TestShortageOfFilesPasses: a process that had no file descriptor left when it first entered a netns, or first read the
// boot ID, can do both later.
func TestShortageOfFilesPasses(t *testing.T) {
	const child = "BONDKEEPER_SHORTAGE_OF_FILES"
	if os.Getenv(child) == "" { // a process in which nothing was entered or read before
		cmd := exec.Command(os.Args[0], "-test.run=^TestShortageOfFilesPasses$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	enter := func() error { return ns.Do(func() error { return nil }) }
	identify := func() error { _, err := netns.SandboxAt("/proc/self/ns/net"); return err }
	withoutFiles(t, 0, enter)
	withoutFiles(t, 1, identify) // for the netns itself
	if err := errors.Join(enter(), identify()); err != nil {
		t.Error(err)
	}
}

// withoutFiles calls do while only few files more can be opened; do must fail.
func withoutFiles(t *testing.T, few int, do func() error) {
	t.Helper()
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	err = errors.Join(unix.Close(next), unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(next + few)
	if err = unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	failed := do()
	if err = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(failed, unix.EMFILE) {
		t.Fatalf("with %d files: %v, want EMFILE", few, failed)
	}
}
