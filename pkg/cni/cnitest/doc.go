// Package cnitest provides what tests of the CNI plugin need: the reference plugins of the
// containernetworking project as real binaries.
//
// The package is for tests only.
package cnitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// version is the release of the reference plugins that go.mod pins, too.
const version = "v1.9.1"

// reference are the plugins that tests use, by import path below the project's.
var reference = []string{"plugins/ipam/host-local", "plugins/ipam/static", "plugins/main/host-device"}

// EnvDir names the environment variable that says where the plugins are, for a test that
// cannot build them (in a lab guest).
const EnvDir = "BONDKEEPER_CNI_BIN"

// Dir is a directory with the reference plugins, built when they are not there yet. It is
// the same in each run, below .cache at the top of the repository.
func Dir() (string, error) {
	if dir := os.Getenv(EnvDir); dir != "" {
		return dir, nil
	}
	dir := filepath.Join(root(), ".cache", "cni-"+version)
	args := []string{"install", "-trimpath", "-ldflags", "-s -w"}
	missing := false
	for _, path := range reference {
		_, err := os.Stat(filepath.Join(dir, filepath.Base(path)))
		missing = missing || err != nil
		args = append(args, "github.com/containernetworking/plugins/"+path+"@"+version)
	}
	if !missing {
		return dir, nil
	}
	if err := run(args, dir); err != nil {
		return "", fmt.Errorf("build the reference plugins: %w", err)
	}
	return dir, nil
}

// BuildBond builds this project's plugin as dir/bond.
func BuildBond(dir string) error {
	if err := run([]string{"build", "-trimpath", "-o", filepath.Join(dir, "bond"), "github.com/bondkeeper/bondkeeper/cmd/cni"}, dir); err != nil {
		return fmt.Errorf("build the bond plugin: %w", err)
	}
	return nil
}

func run(args []string, gobin string) error {
	cmd := exec.Command("go", args...) //nolint:gosec // fixed arguments
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+gobin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}

// root is the top of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
