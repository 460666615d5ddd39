package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program returns the path of one program for a test: the real one, or a stand-in that is built into dir. root is the
// root of the checkout.
func Program(root, dir, name string) (string, error) {
	if os.Getenv(DirEnv) != "" {
		s, err := Find(root)
		return filepath.Join(s.Dir, name), err
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, "./test/peers/"+name)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the stand-in %s: %w: %s", name, err, out)
	}
	return path, nil
}
