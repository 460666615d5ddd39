package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

var created = time.Unix(1700000000, 0)

// The image has both programs, static, with their version. The same sources elsewhere, with only what the Dockerfile
// copies, give the same image and the same archive, byte for byte.
func TestImage(t *testing.T) {
	o := Options{Root: "../..", Version: "v1.2.3", Created: created}
	made := build(t, o)
	checkConfig(t, made)
	programs := filesOf(t, made)
	if len(programs) != 2 || programs["agent"] == nil || programs["bond"] == nil {
		t.Fatalf("the image has %d files, want agent and bond", len(programs))
	}
	for name, program := range programs {
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s is not static: it wants a loader that an empty image has not", name)
			}
		}
		t.Logf("%s: %.1f MB", name, float64(len(program))/1e6)
	}
	checkVersion(t, programs["agent"])
	o.Root = sources(t)
	again := build(t, o)
	want, got := archiveOf(t, made), archiveOf(t, again)
	if !bytes.Equal(want, got) {
		first, err := made.Digest()
		second, err2 := again.Digest()
		t.Errorf("made twice: %s and %s (%v), archives of %d and %d bytes", first, second, errors.Join(err, err2), len(want), len(got))
	}
}

func build(t *testing.T, o Options) v1.Image {
	t.Helper()
	made, err := Build(t.Context(), o, runtime.GOARCH)
	kit.Must(t, err)
	return made
}

func checkConfig(t *testing.T, made v1.Image) {
	t.Helper()
	c, err := made.ConfigFile()
	kit.Must(t, err)
	if c.OS != "linux" || c.Architecture != runtime.GOARCH || c.Config.User != "0:0" || !c.Created.Equal(created) ||
		strings.Join(append(c.Config.Entrypoint, c.Config.Cmd...), " ") != "/agent run" ||
		c.Config.Labels["org.opencontainers.image.version"] != "v1.2.3" || c.Config.Labels["org.opencontainers.image.licenses"] != "Apache-2.0" {
		t.Errorf("config: %+v", c)
	}
}

func checkVersion(t *testing.T, agent []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	kit.Must(t, os.WriteFile(path, agent, 0o755))
	if out, err := exec.Command(path, "version").CombinedOutput(); err != nil || string(out) != "v1.2.3\n" {
		t.Errorf("agent version: %q, %v", out, err)
	}
}

// filesOf are the files of all layers, all executable by every user.
func filesOf(t *testing.T, made v1.Image) map[string][]byte {
	t.Helper()
	layers, err := made.Layers()
	kit.Must(t, err)
	files := map[string][]byte{}
	for _, l := range layers {
		r, err := l.Uncompressed()
		kit.Must(t, err)
		for archive := tar.NewReader(r); ; {
			h, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			kit.Must(t, err)
			if files[h.Name], err = io.ReadAll(archive); err != nil || h.Mode != 0o755 || !h.ModTime.Equal(created) {
				t.Errorf("%s: mode %#o, time %s, %v", h.Name, h.Mode, h.ModTime, err)
			}
		}
	}
	return files
}

// sources is a directory with what the Dockerfile's build stage copies.
func sources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	stages, err := parseDockerfile("../../Dockerfile")
	kit.Must(t, err)
	names := []string{"Dockerfile"}
	for _, i := range stages[0].instructions {
		if i.verb == "COPY" {
			words := strings.Fields(i.args)
			names = append(names, words[:len(words)-1]...)
		}
	}
	for _, name := range names {
		if out, err := exec.Command("cp", "-r", filepath.Join("../..", name), dir).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", name, err, out)
		}
	}
	return dir
}

func archiveOf(t *testing.T, made v1.Image) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	index := Index(map[string]v1.Image{runtime.GOARCH: made}, []string{runtime.GOARCH})
	kit.Must(t, Write(path, "example.test/bondkeeper:v1.2.3", index, created))
	data, err := os.ReadFile(path)
	kit.Must(t, err)
	return data
}

// A Dockerfile feature that this package does not support is an error.
func TestRejectsUnknownInstructions(t *testing.T) {
	const build, final = "FROM golang AS build\nRUN go build -o $OUT/agent .\n", "FROM scratch\nCOPY --from=build /out/agent /agent\n"
	for _, text := range []string{
		"RUN go build .\n", build, build + build + final, build + "RUN make\n" + final, build + "ONBUILD x\n" + final,
		build + final + "ADD x /x\n", build + final + "COPY x /x\n", build + final + "COPY --from=build /src/x /x\n",
		build + final + "CMD /agent\n", build + final + "LABEL =\n", "FROM\n" + final,
	} {
		dir := t.TempDir()
		kit.Must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o600))
		if _, err := read(Options{Root: dir}, "amd64"); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}
