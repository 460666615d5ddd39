package release

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// packed is a release whose programs, image and SBOMs are short texts.
func packed(t *testing.T) *Options {
	t.Helper()
	o := &Options{
		Root: "../..", Out: t.TempDir(), Version: "v1.2.3-rc.1", Created: time.Unix(1700000000, 0), Image: "registry.example/bk:v1.2.3-rc.1",
		URL: "https://example.org/v1.2.3-rc.1/", Log: func(string) {},
	}
	programs := t.TempDir()
	for _, target := range targets() {
		for _, p := range target.programs {
			path := target.path(programs, p)
			kit.Must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(p+" for "+target.os+"/"+target.arch), 0o600))
		}
	}
	for p := range packages {
		write(t, o.file(o.sbomFile(p)), "{}")
	}
	write(t, o.file(o.imageFile()), "image")
	kit.Must(t, o.packPrograms(programs), o.writeManifests(), o.writeKrew(), writeSums(o.Out, o.file(sumsFile)))
	return o
}

func write(t *testing.T, path, text string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(text), 0o600))
}

// TestPackaging: a release is complete, and made twice it has the same files. sha256sum, tar and unzip agree.
func TestPackaging(t *testing.T) {
	o := packed(t)
	kit.Must(t, o.validate(), o.verifyPackaging(), Same(o.Out, packed(t).Out))
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", sumsFile)
	check.Dir = o.Out
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != len(targets())+2+2+3 {
		t.Errorf("%v\n%s", err, out)
	}
	list := exec.CommandContext(t.Context(), "tar", "--numeric-owner", "--utc", "-tvzf", "bondkeeper-v1.2.3-rc.1-linux-arm64.tar.gz")
	list.Dir = o.Out
	out, err := list.CombinedOutput()
	for _, want := range []string{"-rw-r--r-- 0/0", "2023-11-14 22:13 LICENSE\n", "-rwxr-xr-x 0/0", " agent\n", " bond\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("no %q (%v) in\n%s", want, err, out)
		}
	}
	files, err := readArchive(filepath.Join(o.Out, "kubectl-bonds-v1.2.3-rc.1-windows-arm64.zip"))
	if err != nil || len(files) != 2 || string(files[1].data) != "kubectl-bonds for windows/arm64" {
		t.Errorf("%v, %v", files, err)
	}
}

// TestVerify: a file that is missing, changed, or too many is found.
func TestVerify(t *testing.T) {
	made, archive := packed(t), "kubectl-bonds-v1.2.3-rc.1-darwin-arm64.tar.gz"
	for name, damage := range map[string]func(o *Options){
		"archive":       func(o *Options) { write(t, filepath.Join(o.Out, archive), "") },
		"missing":       func(o *Options) { kit.Must(t, os.Remove(filepath.Join(o.Out, archive))) },
		"stray":         func(o *Options) { write(t, filepath.Join(o.Out, "stray"), "") },
		"sums":          func(o *Options) { write(t, filepath.Join(o.Out, sumsFile), "") },
		"image":         func(o *Options) { o.Image = "other" },
		"version":       func(o *Options) { o.Version = "v1.2.4" },
		"krew manifest": func(o *Options) { write(t, filepath.Join(o.Out, krewFile), "spec: {}") },
		"empty program": func(o *Options) {
			kit.Must(t, writeArchive(filepath.Join(o.Out, archive), []entry{{"LICENSE", 0o644, []byte("x")}, {"kubectl-bonds", 0o755, nil}}, o.Created))
			kit.Must(t, o.writeKrew(), writeSums(o.Out, filepath.Join(o.Out, sumsFile)))
		},
		"mode": func(o *Options) {
			kit.Must(t, writeArchive(filepath.Join(o.Out, archive), []entry{{"LICENSE", 0o644, []byte("x")}, {"kubectl-bonds", 0o644, []byte("x")}}, o.Created))
			kit.Must(t, o.writeKrew(), writeSums(o.Out, filepath.Join(o.Out, sumsFile)))
		},
	} {
		o := *made
		o.Out = filepath.Join(t.TempDir(), "release")
		kit.Must(t, os.CopyFS(o.Out, os.DirFS(made.Out)))
		damage(&o)
		if o.verifyPackaging() == nil {
			t.Errorf("%s: nothing is found", name)
		}
		if name != "image" && name != "version" && Same(made.Out, o.Out) == nil {
			t.Errorf("%s: no difference is found", name)
		}
	}
	for _, version := range []string{"", "1.0.0", "v1.0", "v1.0.0+dirty", "v1.0.0 x"} {
		if (&Options{Version: version}).validate() == nil {
			t.Errorf("version %q is accepted", version)
		}
	}
}

// bomOf is an SBOM as the tool writes it.
func bomOf(info *debug.BuildInfo) string {
	var components []string
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, fmt.Sprintf(`{"name":%q,"version":%q,"evidence":{"licenses":[{"license":{"id":"MIT"}}]}}`, m.Path, m.Version))
	}
	return `{"bomFormat":"CycloneDX","metadata":{"tools":[{"name":"cyclonedx-gomod","hashes":[{"alg":"MD5"}]}],"component":{"name":"` + module + `"}},
		"components":[{"name":"std","version":"go1"},` + strings.Join(components, ",") + `]}`
}

// TestSBOM: the components are the modules of a program, and each has a licence.
func TestSBOM(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Path: module}, Deps: []*debug.Module{
		{Path: "example.org/a", Version: "v1.0.0"}, {Path: "example.org/b", Version: "v0.1.0", Replace: &debug.Module{Path: "example.org/c", Version: "v0.2.0"}},
	}}
	bom := bomOf(info)
	normal, err := normalize([]byte(bom), time.Unix(1700000000, 0))
	kit.Must(t, err, verifySBOM(normal, info))
	for _, bad := range []string{`"hashes"`, `"MD5"`} {
		if strings.Contains(string(normal), bad) {
			t.Errorf("%s is in\n%s", bad, normal)
		}
	}
	var read struct{ Metadata struct{ Timestamp string } }
	kit.Must(t, json.Unmarshal(normal, &read))
	if read.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("time %s", read.Metadata.Timestamp)
	}
	if verifySBOM([]byte(bom), info) == nil {
		t.Error("components without a licence are accepted")
	}
	less := *info
	less.Deps = info.Deps[1:]
	if verifySBOM(normal, &less) == nil {
		t.Error("a component that is not in the program is accepted")
	}
	missing, err := normalize([]byte(bomOf(&less)), time.Unix(1700000000, 0))
	if kit.Must(t, err); verifySBOM(missing, info) == nil {
		t.Error("a module that is not in the SBOM is accepted")
	}
}
