package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// outDir is where the Dockerfile's build stage leaves the programs; the argument OUT names another directory.
const outDir = "/out"

// Options say what image is made.
type Options struct {
	// Root is the directory of the Dockerfile.
	Root string
	// Version is the version that the programs report.
	Version string
	// Created is the time of everything in the image.
	Created time.Time
}

// recipe is the Dockerfile's description of one platform's image.
type recipe struct {
	env      map[string]string // of the build stage, arguments included
	commands []string
	files    []copied
	config   v1.Config
}

// Build makes the image of one platform, linux and the architecture as Go names it. The same options and the same
// sources give the same digest.
func Build(ctx context.Context, o Options, arch string) (v1.Image, error) {
	r, err := read(o, arch)
	if err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(out) }()
	r.env["OUT"] = out
	for _, c := range r.commands {
		if err := r.run(ctx, o.Root, c); err != nil {
			return nil, err
		}
	}
	return pack(r, out, o.Created, arch)
}

// read reads the Dockerfile.
func read(o Options, arch string) (*recipe, error) {
	path := filepath.Join(o.Root, "Dockerfile")
	stages, err := parseDockerfile(path)
	if err != nil {
		return nil, err
	}
	if len(stages) != 2 || stages[1].base != "scratch" {
		return nil, fmt.Errorf("%s: want a build stage and one from scratch", path)
	}
	given := map[string]string{"VERSION": o.Version, "TARGETARCH": arch}
	r := &recipe{env: maps.Clone(given)}
	var errs []error
	for _, i := range stages[0].instructions {
		errs = append(errs, r.prepare(i))
	}
	for _, i := range stages[1].instructions {
		errs = append(errs, r.finish(i, stages[0].name, given))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// prepare reads an instruction of the build stage. It builds in the tree itself, so COPY has no effect.
func (r *recipe) prepare(i instruction) error {
	switch i.verb {
	case "WORKDIR", "COPY":
		return nil
	case "ARG":
		name, value, _ := strings.Cut(i.args, "=")
		if _, set := r.env[name]; !set {
			r.env[name] = value
		}
		return nil
	case "ENV":
		more, err := assignments(i.args, func(name string) string { return r.env[name] })
		maps.Copy(r.env, more)
		return err
	case "RUN":
		if i.args == "go mod download" { // go build does it
			return nil
		}
		if !strings.HasPrefix(i.args, "go build ") {
			return fmt.Errorf("RUN %s: only go build can be run", i.args)
		}
		r.commands = append(r.commands, i.args)
		return nil
	}
	return fmt.Errorf("%s in the build stage is not understood", i.verb)
}

// finish reads an instruction of the final stage.
func (r *recipe) finish(i instruction, build string, given map[string]string) (err error) {
	switch i.verb {
	case "ARG":
	case "LABEL":
		var more map[string]string
		more, err = assignments(i.args, func(name string) string { return given[name] })
		if r.config.Labels == nil {
			r.config.Labels = map[string]string{}
		}
		maps.Copy(r.config.Labels, more)
	case "COPY":
		var c copied
		if c, err = parseCopy(i.args); err == nil && (c.from != build || filepath.Dir(c.source) != outDir) {
			err = fmt.Errorf("COPY %s: want a file from %s of the stage %s", i.args, outDir, build)
		}
		r.files = append(r.files, c)
	case "USER":
		r.config.User = i.args
	case "ENTRYPOINT":
		r.config.Entrypoint, err = words(i.args)
	case "CMD":
		r.config.Cmd, err = words(i.args)
	default:
		err = fmt.Errorf("%s in the final stage is not understood", i.verb)
	}
	return err
}

// run runs a command of the build stage with its variables, in the tree.
func (r *recipe) run(ctx context.Context, root, command string) error {
	cmd := exec.CommandContext(ctx, "sh", "-ec", command)
	cmd.Dir, cmd.Env = root, os.Environ()
	for _, name := range slices.Sorted(maps.Keys(r.env)) {
		cmd.Env = append(cmd.Env, name+"="+r.env[name])
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}
