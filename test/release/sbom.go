package release

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"
)

const module = "github.com/bondkeeper/bondkeeper"

func (o *Options) sbomFile(program string) string { return program + "-" + o.Version + ".cdx.json" }

// sbomTargets are the programs that have an SBOM. The modules are those of linux/amd64.
func sbomTargets() (all []target) {
	for _, t := range targets() {
		if t.os == "linux" && t.arch == "amd64" {
			all = append(all, t)
		}
	}
	return all
}

// writeSBOMs writes an SBOM per program, of the modules that are in it.
func (o *Options) writeSBOMs(ctx context.Context, dir string) error {
	for _, t := range sbomTargets() {
		for _, p := range t.programs {
			text, err := o.sbom(ctx, t.path(dir, p))
			if err != nil {
				return fmt.Errorf("SBOM of %s: %w", p, err)
			}
			if err = os.WriteFile(o.file(o.sbomFile(p)), text, 0o644); err != nil { //nolint:gosec // for everybody
				return err
			}
		}
	}
	return nil
}

func (o *Options) sbom(ctx context.Context, program string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, o.SBOMTool, "bin", "-json", "-licenses", "-std", "-noserial", "-notimestamp", "-version", o.Version, program)
	// The module itself is at no proxy, and the others are in the module cache: they were just compiled.
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	if err != nil {
		return nil, err
	}
	text, err := normalize(out, o.Created)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return text, verifySBOM(text, info)
}

// normalize gives an SBOM the time of the release and the licences that the tool cannot know, and takes out the
// checksums of the tool, which depend on how that was built.
func normalize(text []byte, created time.Time) ([]byte, error) {
	var bom map[string]any
	if err := json.Unmarshal(text, &bom); err != nil {
		return nil, err
	}
	metadata, found := bom["metadata"].(map[string]any)
	if !found {
		return nil, errors.New("no metadata")
	}
	metadata["timestamp"] = created.UTC().Format(time.RFC3339)
	tools, _ := metadata["tools"].([]any)
	for _, t := range tools {
		if tool, is := t.(map[string]any); is {
			delete(tool, "hashes")
		}
	}
	setLicense(metadata["component"], module, "Apache-2.0")
	components, _ := bom["components"].([]any)
	for _, c := range components {
		setLicense(c, "std", "BSD-3-Clause")
	}
	normal, err := json.MarshalIndent(bom, "", "  ")
	return append(normal, '\n'), err
}

func setLicense(component any, name, license string) {
	if c, is := component.(map[string]any); is && c["name"] == name {
		c["licenses"] = []any{map[string]any{"license": map[string]any{"id": license}}}
	}
}

// verifySBOM: the components are the modules of the program, with their versions, and each has a licence.
func verifySBOM(text []byte, info *debug.BuildInfo) error {
	type license struct {
		License struct{ ID, Name string }
	}
	type component struct {
		Name, Version string
		Licenses      []license
		Evidence      struct{ Licenses []license }
	}
	var bom struct {
		BOMFormat  string
		Metadata   struct{ Component component }
		Components []component
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		return err
	}
	if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Name != info.Main.Path {
		return fmt.Errorf("format %q, component %q", bom.BOMFormat, bom.Metadata.Component.Name)
	}
	var errs []error
	var listed, want []string
	for _, c := range append(bom.Components, bom.Metadata.Component) {
		if len(c.Licenses)+len(c.Evidence.Licenses) == 0 {
			errs = append(errs, fmt.Errorf("%s has no licence", c.Name))
		}
	}
	for _, c := range bom.Components {
		if c.Name != "std" {
			listed = append(listed, c.Name+"@"+c.Version)
		}
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		want = append(want, m.Path+"@"+m.Version)
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		errs = append(errs, fmt.Errorf("components %q, and the program has %q", listed, want))
	}
	return errors.Join(errs...)
}

// verifySBOMs compares them with the programs in the archives.
func (o *Options) verifySBOMs() error {
	dir, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, t := range sbomTargets() {
		files, err := readArchive(filepath.Join(o.Out, t.archive(o.Version)))
		if err != nil {
			return err
		}
		for _, f := range files {
			if !slices.Contains(t.programs, f.name) {
				continue
			}
			path := filepath.Join(dir, f.name)
			if err = os.WriteFile(path, f.data, 0o600); err != nil {
				return err
			}
			info, err := buildinfo.ReadFile(path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(o.Out, o.sbomFile(f.name)))
			if err == nil {
				err = verifySBOM(text, info)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", o.sbomFile(f.name), err)
			}
		}
	}
	return nil
}
