package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// binDir has this test binary under the name bond, as which it is the plugin, and the reference plugins.
var binDir string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "bond" {
		main()
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cni-bin-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = fill(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binDir = dir
	return m.Run()
}

func fill(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	reference, err := cnitest.Dir()
	if err != nil {
		return err
	}
	plugins, err := filepath.Glob(filepath.Join(reference, "*"))
	for _, p := range plugins {
		err = errors.Join(err, os.Symlink(p, filepath.Join(dir, filepath.Base(p))))
	}
	return errors.Join(err, os.Symlink(self, filepath.Join(dir, "bond")))
}

// call runs the binary as a runtime does.
func call(t testing.TB, env map[string]string, stdin string) (stdout string, failed *types.Error) {
	t.Helper()
	stdout, logged, failed := invoke(t, env, stdin)
	if logged != "" {
		t.Logf("standard error: %s", logged)
	}
	return stdout, failed
}

// invoke runs the binary, and also returns its standard error.
func invoke(t testing.TB, env map[string]string, stdin string) (stdout, logged string, failed *types.Error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "bond"))
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problems
	err := cmd.Run()
	if err == nil {
		return out.String(), problems.String(), nil
	}
	failed = new(types.Error)
	if json.Unmarshal(out.Bytes(), failed) != nil || failed.Code == 0 || failed.Msg == "" {
		t.Fatalf("%v: standard output is no error of CNI's: %q", err, &out)
	}
	return "", problems.String(), failed
}

func TestVersion(t *testing.T) {
	out, failed := call(t, map[string]string{"CNI_COMMAND": "VERSION"}, "")
	var v struct{ SupportedVersions []string }
	if err := json.Unmarshal([]byte(out), &v); failed != nil || err != nil {
		t.Fatalf("%q: %v, %v", out, failed, err)
	}
	if want := []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}; !slices.Equal(v.SupportedVersions, want) {
		t.Errorf("got %v, want %v", v.SupportedVersions, want)
	}
}

// TestBadCalls: each is an error with CNI's code, and nothing is changed.
func TestBadCalls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	config := `{"cniVersion":"1.0.0","name":"n","type":"bond","mode":1,"links":[{"name":"net1"},{"name":"net2"}],"linksInContainer":true,"stateDir":"` + dir + `"}`
	tests := []struct {
		name   string
		env    map[string]string
		config string
		code   uint
		text   string
	}{
		{"no container ID", map[string]string{"CNI_CONTAINERID": ""}, config, types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID"},
		{"container ID with slash", map[string]string{"CNI_CONTAINERID": "a/b"}, config, types.ErrInvalidEnvironmentVariables, "a/b"},
		{"container ID ..", map[string]string{"CNI_CONTAINERID": ".."}, config, types.ErrInvalidEnvironmentVariables, ".."},
		{"container ID with @", map[string]string{"CNI_CONTAINERID": "a@b"}, config, types.ErrInvalidEnvironmentVariables, "a@b"},
		{"long interface name", map[string]string{"CNI_IFNAME": "sixteen-bytes-xx"}, config, types.ErrInvalidEnvironmentVariables, "too long"},
		{"no netns", map[string]string{"CNI_NETNS": ""}, config, types.ErrInvalidEnvironmentVariables, "CNI_NETNS"},
		{"netns that is a file", map[string]string{"CNI_NETNS": "/etc/passwd"}, config, types.ErrInvalidNetNS, "/etc/passwd"},
		{"netns that is not there", map[string]string{"CNI_NETNS": "/run/netns/none"}, config, types.ErrInvalidNetNS, "/run/netns/none"},
		{"the host's netns", map[string]string{"CNI_NETNS": fmt.Sprintf("/proc/%d/ns/net", os.Getpid())}, config, types.ErrInvalidNetNS, "host's own"},
		{"broken JSON", nil, `{"name":`, types.ErrDecodingFailure, "config"},
		{"no name", nil, `{"cniVersion":"1.0.0","type":"bond"}`, types.ErrInvalidNetworkConfig, "name"},
		{"unknown version", nil, strings.Replace(config, "1.0.0", "9.0.0", 1), types.ErrIncompatibleCNIVersion, "incompatible"},
		{"bad mode", nil, strings.Replace(config, `"mode":1`, `"mode":"best"`, 1), types.ErrInvalidNetworkConfig, "best"},
		{"no such link", nil, config, types.ErrInvalidNetworkConfig, "net1"},
		{"unknown command", map[string]string{"CNI_COMMAND": "MEND"}, config, types.ErrInvalidEnvironmentVariables, "MEND"},
	}
	pod := netnstest.New(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": pod, "CNI_IFNAME": "bond0", "CNI_PATH": binDir}
			for k, v := range tt.env {
				env[k] = v
			}
			_, failed := call(t, env, tt.config)
			if failed == nil {
				t.Fatal("it succeeded")
			}
			if failed.Code != tt.code || !strings.Contains(failed.Error(), tt.text) {
				t.Errorf("got %d %v; want code %d and %q", failed.Code, failed, tt.code, tt.text)
			}
			if records, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(records) > 0 {
				t.Errorf("records left: %v", records)
			}
		})
	}
}

// TestDelOfBadCalls: DEL of what ADD rejects succeeds, even if skel, the library, rejects it. It fails only if no bond
// is named, or without JSON.
func TestDelOfBadCalls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	config := `{"cniVersion":"1.0.0","name":"n","type":"bond","mode":1,"links":[{"name":"net1"},{"name":"net2"}],"linksInContainer":true,"stateDir":"` + dir + `"}`
	for _, tt := range []struct {
		name   string
		env    map[string]string
		config string
		code   uint // 0: DEL succeeds
	}{
		{"container ID with slash", map[string]string{"CNI_CONTAINERID": "a/b"}, config, 0},
		{"container ID ..", map[string]string{"CNI_CONTAINERID": ".."}, config, 0},
		{"long interface name", map[string]string{"CNI_IFNAME": "sixteen-bytes-xx"}, config, 0},
		{"netns that is a file", map[string]string{"CNI_NETNS": "/etc/passwd"}, config, 0},
		{"netns that is not there", map[string]string{"CNI_NETNS": "/run/netns/none"}, config, 0},
		{"the host's netns", map[string]string{"CNI_NETNS": fmt.Sprintf("/proc/%d/ns/net", os.Getpid())}, config, 0},
		{"CNI_ARGS", map[string]string{"CNI_ARGS": "nonsense"}, config, 0},
		{"no CNI_PATH", map[string]string{"CNI_PATH": ""}, config, 0},
		{"no name", nil, strings.Replace(config, `"name":"n",`, "", 1), 0},
		{"name with slash", nil, strings.Replace(config, `"name":"n"`, `"name":"a/b"`, 1), 0},
		{"name as number", nil, strings.Replace(config, `"name":"n"`, `"name":7`, 1), 0},
		{"unknown version", nil, strings.Replace(config, "1.0.0", "9.0.0", 1), 0},
		{"version as number", nil, strings.Replace(config, `"1.0.0"`, `7`, 1), 0},
		{"relative state directory", nil, strings.Replace(config, dir, "state", 1), 0},
		{"IPAM plugin misspelt", nil, strings.Replace(config, `"mode"`, `"ipam":{"type":"host-locall"},"mode"`, 1), 0},
		{"IPAM as text", nil, strings.Replace(config, `"mode"`, `"ipam":"host-local","mode"`, 1), 0},
		{"no container ID", map[string]string{"CNI_CONTAINERID": ""}, config, types.ErrInvalidEnvironmentVariables},
		{"no interface", map[string]string{"CNI_IFNAME": ""}, config, types.ErrInvalidEnvironmentVariables},
		{"broken JSON", nil, `{"name":`, types.ErrDecodingFailure},
		{"no object", nil, `[]`, types.ErrDecodingFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"CNI_CONTAINERID": "c1", "CNI_NETNS": "", "CNI_IFNAME": "bond0", "CNI_PATH": binDir}
			for k, v := range tt.env {
				env[k] = v
			}
			env["CNI_COMMAND"] = "DEL"
			switch out, failed := call(t, env, tt.config); {
			case tt.code == 0 && (failed != nil || out != ""):
				t.Errorf("got %v and output %q, want success", failed, out)
			case tt.code != 0 && (failed == nil || failed.Code != tt.code):
				t.Errorf("got %v, want code %d", failed, tt.code)
			}
		})
	}
}

// TestKilledWithIPAM: an IPAM plugin ends with the plugin that called it. Otherwise it could release or allocate an
// address after a later call of DEL or ADD.
func TestKilledWithIPAM(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	pid := filepath.Join(dir, "pid")
	kit.Program(t, filepath.Join(dir, "hangs"), "#!/bin/sh\necho $$ > "+pid+".new\nmv "+pid+".new "+pid+"\nexec sleep 600\n")
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir, "bond"))
	cmd.Env = []string{"CNI_COMMAND=DEL", "CNI_CONTAINERID=c1", "CNI_IFNAME=bond0", "CNI_PATH=" + dir}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0","name":"n","type":"bond","ipam":{"type":"hangs"},"stateDir":"` + state + `"}`)
	kit.Must(t, cmd.Start())
	var text []byte
	kit.Eventually(t, "the IPAM plugin", func() bool { var err error; text, err = os.ReadFile(pid); return err == nil })
	kit.Must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	ipam, err := strconv.Atoi(strings.TrimSpace(string(text)))
	kit.Must(t, err)
	kit.Eventually(t, "the end of the IPAM plugin", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ipam))
		return err != nil || strings.Contains(string(stat), ") Z ") // in a container there may be no process that reaps it
	})
}
