package release

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var archs = []string{"amd64", "arm64"}

// target is one archive: programs for one platform.
type target struct {
	name     string   // of the archive, before version and platform
	os, arch string   // as Go names them
	programs []string // by name
}

// packages are the programs' packages.
var packages = map[string]string{"agent": "./cmd/agent", "bond": "./cmd/cni", "kubectl-bonds": "./cmd/kubectl-bonds"}

func targets() (all []target) {
	for _, arch := range archs {
		all = append(all, target{"bondkeeper", "linux", arch, []string{"agent", "bond"}})
		for _, system := range []string{"linux", "darwin", "windows"} {
			all = append(all, target{"kubectl-bonds", system, arch, []string{"kubectl-bonds"}})
		}
	}
	return all
}

// archive is the name of the target's archive.
func (t target) archive(version string) string {
	name := strings.Join([]string{t.name, version, t.os, t.arch}, "-")
	if t.os == "windows" {
		return name + ".zip"
	}
	return name + ".tar.gz"
}

// file is the file name of a program.
func (t target) file(program string) string {
	if t.os == "windows" {
		return program + ".exe"
	}
	return program
}

// path is where a program is built, below a directory for all of them.
func (t target) path(dir, program string) string {
	return filepath.Join(dir, t.os+"-"+t.arch, t.file(program))
}

// build builds the target's programs as the Dockerfile does.
func (o *Options) build(ctx context.Context, t target, dir string) error {
	for _, p := range t.programs {
		o.Log(p + " for " + t.os + "/" + t.arch)
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -X main.version="+o.Version, "-o", t.path(dir, p), packages[p])
		cmd.Dir = o.Root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s for %s/%s: %w: %s", p, t.os, t.arch, err, out)
		}
	}
	return nil
}

// packPrograms writes the archives of the programs, each with the licence.
func (o *Options) packPrograms(dir string) error {
	license, err := os.ReadFile(filepath.Join(o.Root, "LICENSE"))
	if err != nil {
		return err
	}
	for _, t := range targets() {
		files := []entry{{"LICENSE", 0o644, license}}
		for _, p := range t.programs {
			data, err := os.ReadFile(t.path(dir, p))
			if err != nil {
				return err
			}
			files = append(files, entry{t.file(p), 0o755, data})
		}
		if err := writeArchive(o.file(t.archive(o.Version)), files, o.Created); err != nil {
			return err
		}
	}
	return nil
}
