package install

import (
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// probeTimeout bounds one run of a plugin; CNI's VERSION changes nothing and takes milliseconds.
const probeTimeout = 20 * time.Second

// versionPrefix is what our plugin prints without a command, before its version.
const versionPrefix = "Bondkeeper's CNI plugin bond "

// ourMain is the main package of our plugin in the binary's build information.
const ourMain = "github.com/bondkeeper/bondkeeper/cmd/cni"

// About describes a plugin.
type About struct {
	// CNI are the supported versions of the CNI specification.
	CNI []string
	// Version is our plugin's version; empty for another plugin.
	Version string
}

// IsBondkeeper reports whether the file is a build of this plugin. It is not run.
func IsBondkeeper(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == ourMain
}

// Probe runs the plugin at path. It returns an error if the plugin does not run on this node or is not a CNI plugin.
func Probe(ctx context.Context, path string) (About, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("no answer within %s", probeTimeout))
	defer cancel()
	output, _, err := execute(ctx, path, "CNI_COMMAND=VERSION")
	if err != nil {
		return About{}, err
	}
	about, err := parseVersions(output)
	if err != nil {
		return About{}, fmt.Errorf("%s is not a CNI plugin: %w", path, err)
	}
	if !IsBondkeeper(path) { // without a command it might do anything
		return about, nil
	}
	_, text, err := execute(ctx, path)
	if err != nil {
		return About{}, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	about.Version, _ = strings.CutPrefix(first, versionPrefix)
	return about, nil
}

// parseVersions parses a plugin's output for VERSION.
func parseVersions(output []byte) (About, error) {
	var versions struct {
		Supported []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(output, &versions); err != nil || len(versions.Supported) == 0 {
		return About{}, fmt.Errorf("it answers VERSION with %.100q", output)
	}
	return About{CNI: versions.Supported}, nil
}

// maxOutput bounds the recorded output of a program, in bytes.
const maxOutput = 64 << 10

// output records the first maxOutput bytes and discards the rest.
type output struct{ head []byte }

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.head = append(o.head, p[:min(len(p), maxOutput-len(o.head))]...)
	return len(p), nil
}

// execute runs a plugin with the given environment and returns its standard output and standard error.
func execute(ctx context.Context, path string, env ...string) (stdout, stderr []byte, err error) {
	cmd := exec.CommandContext(ctx, path)
	var out, errOut output
	cmd.Env = slices.Concat([]string{"PATH=/nonexistent"}, env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(`{"cniVersion":"1.0.0"}`), &out, &errOut
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case err == nil:
		return out.head, errOut.head, nil
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("run %s: %w", path, context.Cause(ctx))
	case errors.Is(err, syscall.ENOEXEC):
		return nil, nil, fmt.Errorf("run %s: %w: %s", path, err, builtFor(path))
	case errors.Is(err, syscall.EACCES):
		return nil, nil, fmt.Errorf("run %s: %w: is its file system mounted noexec, or does SELinux or AppArmor forbid it?", path, err)
	}
	return nil, nil, fmt.Errorf("run %s: %w: it said %.400q and %.400q", path, err, out.head, errOut.head)
}

// machines maps ELF machines to Go architectures.
var machines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64"}

// builtFor describes the machine that a program was built for.
func builtFor(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return "it is not a program for Linux"
	}
	defer func() { _ = f.Close() }()
	arch := machines[f.Machine]
	if arch == "" {
		arch = f.Machine.String()
	}
	return fmt.Sprintf("it was built for %s and this node is %s; use an image that was built for both", arch, runtime.GOARCH)
}
