package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	make := func(dir string, names ...string) string {
		kit.Must(t, os.MkdirAll(dir, 0o755))
		for _, name := range names {
			kit.Must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o755))
		}
		return dir
	}
	standIns := make(filepath.Join(root, StandIns), "multus", "sriov")
	thin := make(filepath.Join(root, "thin"), "multus", "sriov")
	thick := make(filepath.Join(root, "thick"), "multus-daemon", "multus-shim", "sriov")
	for _, c := range []struct {
		name, dir, multus string
		want              Set
		missing           string
	}{
		{"nothing set", "", "", Set{standIns, StandIn}, ""},
		{"a directory", thin, "", Set{thin, Thin}, ""},
		{"thin", thin, "thin", Set{thin, Thin}, ""},
		{"thick", thick, "thick", Set{thick, Thick}, ""},
		{"thick without its programs", thin, "thick", Set{}, "multus-daemon"},
		{"thin without its program", thick, "thin", Set{}, "program multus"},
		{"an unknown form", thin, "fat", Set{}, "fat"},
		{"a form without a directory", "", "thin", Set{}, DirEnv},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(DirEnv, c.dir)
			t.Setenv(MultusEnv, c.multus)
			got, err := Find(root)
			if c.missing != "" {
				if err == nil || !strings.Contains(err.Error(), c.missing) {
					t.Errorf("got %v, want an error with %q", err, c.missing)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
