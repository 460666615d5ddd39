package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestDelOutlivesItsRuntime: a runtime that is restarted meanwhile reads neither output nor log. DEL ends nevertheless.
func TestDelOutlivesItsRuntime(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	called := filepath.Join(dir, "called")
	kit.Program(t, filepath.Join(dir, "logs"), "#!/bin/sh\necho released >&2\n: > "+called+"\n")
	config := `{"cniVersion":"1.0.0","name":"n","type":"bond","ipam":{"type":"logs"},"stateDir":"` + state + `"}`
	s, err := store.Open(state)
	kit.Must(t, err)
	key := bond.Key{ContainerID: "c1", IfName: "bond0"}
	kit.Must(t, s.Save(&bond.Record{
		Key: key, Phase: bond.PhaseReady, Network: "n", Sandbox: bond.Sandbox{Path: "/run/netns/none", Dev: 1, Inode: 1},
		CNI: bond.CNI{Config: []byte(config), Path: dir}, Created: time.Now(),
	}))
	unread, output, err := os.Pipe()
	kit.Must(t, err, unread.Close())
	defer func() { _ = output.Close() }()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "bond"))
	cmd.Env = []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=c1", "CNI_IFNAME=bond0", "CNI_PATH=" + dir}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(config), output, output
	if err := cmd.Run(); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if _, err := os.Stat(called); err != nil {
		t.Errorf("the IPAM plugin was not called: %v", err)
	}
	if _, err := s.Load(key); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("the record is left: %v", err)
	}
}
