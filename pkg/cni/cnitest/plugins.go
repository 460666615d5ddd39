// Package cnitest provides the reference plugins of the containernetworking project, as real
// binaries, to tests of the CNI plugin.
//
// The package is for tests only.
package cnitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const project = "github.com/containernetworking/plugins"

// reference are the plugins that tests use, by import path below the project's.
var reference = []string{"plugins/ipam/host-local", "plugins/ipam/static", "plugins/main/host-device"}

// Dir is bin/cni at the top of the repository, with the reference plugins in it, built now if
// one is not there yet. A test in a lab guest finds those that were built before it.
func Dir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	dir := filepath.Join(root, "bin", "cni")
	missing := false
	for _, path := range reference {
		_, err := os.Stat(filepath.Join(dir, filepath.Base(path)))
		missing = missing || err != nil
	}
	if !missing {
		return dir, nil
	}
	version, err := goCommand(root, "", "list", "-m", "-f", "{{.Version}}", project)
	if err != nil {
		return "", err
	}
	// "go install path@version" takes the plugins' own requirements, not ours.
	args := []string{"install", "-trimpath", "-ldflags", "-s -w"}
	for _, path := range reference {
		args = append(args, project+"/"+path+"@"+strings.TrimSpace(version))
	}
	_, err = goCommand(root, dir, args...)
	return dir, err
}

func goCommand(dir, gobin string, args ...string) (string, error) {
	cmd := exec.Command("go", args...) //nolint:gosec // arguments of ours
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+gobin)
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
		return "", fmt.Errorf("go %v: %w\n%s", args, err, exit.Stderr)
	}
	return string(out), err
}
