package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/leak"
)

// The test program starts itself again as another process of the node.
const roleEnv, dirEnv = "STORE_TEST_ROLE", "STORE_TEST_DIR"

func TestMain(m *testing.M) {
	role, isChild := os.LookupEnv(roleEnv)
	if !isChild {
		os.Exit(leak.Main(m))
	}
	if err := child(role, os.Getenv(dirEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child prints "ready" once it does what its role requires.
func child(role, dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch role {
	case "lock":
		_, err = s.Lock(ctx, key("c1"))
	case "agent":
		_, err = s.LockAgent(ctx, func(int) {})
	case "count":
		s.lockTimeout = time.Minute
		return countUp(s, eachCounts)
	case "countInFile":
		s.lockTimeout = time.Minute
		return countInFile(s, eachCounts)
	case "save":
		fmt.Println("ready")
		for {
			if err = s.Save(patterned(rand.IntN(savedKeys), rand.IntN(100<<10))); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until it is killed
	return err
}

// startChild starts a process and waits until it is ready.
func startChild(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, outErr := cmd.StdoutPipe()
	_, inErr := cmd.StdinPipe() // left open
	kit.Must(t, errors.Join(outErr, inErr, cmd.Start()))
	t.Cleanup(func() { kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the %s process says %q (%v)", role, line, err)
	}
	return cmd
}

// kill sends SIGKILL and waits until the process has ended.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

const savedKeys = 4

// patterned is a record of about size bytes whose content shows whether it is complete.
func patterned(i, size int) *bond.Record {
	r := sample(key(fmt.Sprint("c", i)))
	r.BondIndex = size
	r.CNI.Config = json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
	return r
}

// TestKilledWriters kills processes that save continuously and without locks. Each record file is complete at any
// moment, and incomplete files are in tmp only.
func TestKilledWriters(t *testing.T) {
	s := newStore(t)
	for i := range savedKeys {
		save(t, s, patterned(i, 1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				mustBeOfOnePiece(t, s, key(fmt.Sprint("c", i%savedKeys)))
			}
		})
	}
	for range 25 {
		a, b := startChild(t, "save", s.dir), startChild(t, "save", s.dir)
		<-time.After(time.Duration(rand.IntN(8000)) * time.Microsecond) // any moment of their work
		kill(a)
		kill(b)
	}
	cancel()
	wg.Wait()
	records, problems := list(t, s)
	if len(records) != savedKeys || len(problems) != 0 {
		t.Errorf("%d records, problems %v; want %d and none", len(records), problems, savedKeys)
	}
	left, err := os.ReadDir(s.tmp)
	kit.Must(t, err)
	t.Logf("the killed left %d temporary files", len(left))
}

func mustBeOfOnePiece(t *testing.T, s *Store, k bond.Key) {
	r, err := s.Load(k)
	if err != nil {
		t.Errorf("while others save: %v", err)
		return
	}
	if want := r.BondIndex + 2; len(r.CNI.Config) != want || r.Key != k {
		t.Errorf("%s: config of %d bytes, want %d", r.Key, len(r.CNI.Config), want)
	}
}

// TestConcurrentSaveLoad does the same within one process.
func TestConcurrentSaveLoad(t *testing.T) {
	s := newStore(t)
	for i := range savedKeys {
		save(t, s, patterned(i, 1))
	}
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 4 {
				if err := s.Save(patterned((g+i)%savedKeys, rand.IntN(4<<10))); err != nil {
					t.Error(err)
				}
				mustBeOfOnePiece(t, s, key(fmt.Sprint("c", i%savedKeys)))
				if _, problems, err := s.List(t.Context()); err != nil || len(problems) > 0 {
					t.Error(problems, err)
				}
			}
		})
	}
	wg.Wait()
	mustBeEmpty(t, s.tmp)
}
