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

// askWithin bounds one run of a plugin; CNI's VERSION touches nothing and takes milliseconds.
const askWithin = 20 * time.Second

// aboutPrefix is what our plugin says of itself when it is run by hand; its version follows.
const aboutPrefix = "Bondkeeper's CNI plugin bond "

// ourMain is the package that our plugin is built from, as the Go linker notes it in the binary.
const ourMain = "github.com/bondkeeper/bondkeeper/cmd/cni"

// About is what a plugin says of itself.
type About struct {
	// CNI are the versions of the CNI specification that it speaks.
	CNI []string
	// Version is our plugin's own; empty for a plugin of another maker.
	Version string
}

// Ours says whether the file is a build of our plugin. It is not run for that.
func Ours(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == ourMain
}

// Ask runs the plugin at path and answers what it says of itself. The error says why it cannot run on this
// node, or that it is no CNI plugin.
func Ask(ctx context.Context, path string) (About, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askWithin, fmt.Errorf("no answer within %s", askWithin))
	defer cancel()
	answer, _, err := execute(ctx, path, "CNI_COMMAND=VERSION")
	if err != nil {
		return About{}, err
	}
	about, err := parseVersions(answer)
	if err != nil {
		return About{}, fmt.Errorf("%s is no CNI plugin: %w", path, err)
	}
	if !Ours(path) { // it might do anything when it is given no command
		return about, nil
	}
	_, text, err := execute(ctx, path)
	if err != nil {
		return About{}, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	about.Version, _ = strings.CutPrefix(first, aboutPrefix)
	return about, nil
}

// parseVersions reads what a plugin prints for VERSION.
func parseVersions(answer []byte) (About, error) {
	var versions struct {
		Supported []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal(answer, &versions); err != nil || len(versions.Supported) == 0 {
		return About{}, fmt.Errorf("it answers VERSION with %.100q", answer)
	}
	return About{CNI: versions.Supported}, nil
}

// maxOutput bounds what is kept of a program's output, in bytes.
const maxOutput = 64 << 10

// output keeps the first maxOutput bytes, and takes the rest.
type output struct{ kept []byte }

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.kept = append(o.kept, p[:min(len(p), maxOutput-len(o.kept))]...)
	return len(p), nil
}

// execute runs a plugin in an environment of its own and answers its standard output and standard error.
func execute(ctx context.Context, path string, env ...string) (stdout, stderr []byte, err error) {
	cmd := exec.CommandContext(ctx, path)
	var out, problems output
	cmd.Env = slices.Concat([]string{"PATH=/nonexistent"}, env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(`{"cniVersion":"1.0.0"}`), &out, &problems
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case err == nil:
		return out.kept, problems.kept, nil
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("run %s: %w", path, context.Cause(ctx))
	case errors.Is(err, syscall.ENOEXEC):
		return nil, nil, fmt.Errorf("run %s: %w: %s", path, err, builtFor(path))
	case errors.Is(err, syscall.EACCES):
		return nil, nil, fmt.Errorf("run %s: %w: is its file system mounted noexec, or does SELinux or AppArmor forbid it?", path, err)
	}
	return nil, nil, fmt.Errorf("run %s: %w: it said %.400q and %.400q", path, err, out.kept, problems.kept)
}

// machines are the names that Go has for what ELF calls a machine.
var machines = map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64"}

// builtFor says for which machine a program was built.
func builtFor(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return "it is no program for Linux"
	}
	defer func() { _ = f.Close() }()
	arch := machines[f.Machine]
	if arch == "" {
		arch = f.Machine.String()
	}
	return fmt.Sprintf("it was built for %s and this node is %s; use an image that was built for both", arch, runtime.GOARCH)
}
