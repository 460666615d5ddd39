package cnitest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Dir is bin/cni in the root of the repository, with the reference plugins, which are built first if needed (make
// plugins).
func Dir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..")
	out, err := exec.Command("make", "-C", root, "plugins").CombinedOutput() //nolint:gosec // a fixed path
	if err != nil {
		return "", fmt.Errorf("make plugins: %w\n%s", err, out)
	}
	return filepath.Join(root, "bin", "cni"), nil
}
