package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plugin is another vendor's plugin.
const plugin = "#!/bin/sh\necho '{\"cniVersion\":\"0.3.1\",\"supportedVersions\":[\"0.3.1\"]}'\n"

func TestInstallCNI(t *testing.T) {
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "plugin")
	old := strings.Replace(plugin, "0.3.1", "0.3.0", 1)
	if err := errors.Join(os.WriteFile(source, []byte(plugin), 0o700), os.WriteFile(filepath.Join(dir, "bond"), []byte(old), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"backed up the previous plugin as " + dir + "/bond.previous\n" + dir + "/bond installed", dir + "/bond is installed already"} {
		var out strings.Builder
		if err := execute(t.Context(), []string{"install-cni", "--dir", dir, "--source", source}, &out); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q, %v; want %q", out.String(), err, want)
		}
	}
	if err := execute(t.Context(), []string{"install-cni", "now"}, new(strings.Builder)); !errors.Is(err, errUsage) {
		t.Errorf("a surplus argument: %v", err)
	}
	// Without --source it is the file beside the agent; there is none beside the test binary.
	if err := execute(t.Context(), []string{"install-cni", "--dir", dir}, new(strings.Builder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no plugin beside this program: %v", err)
	}
}
