//go:build lab

package rights

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// specEnv names the file with the container that the program "agent" is run in.
const specEnv = "BONDKEEPER_TEST_SPEC"

// TestMain makes the test binary, under the name agent, the agent in its container.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "agent" {
		fmt.Fprintln(os.Stderr, "agent's container:", enter(os.Getenv(specEnv), os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enter becomes runc with the container of a spec, its agent given more flags. Signals reach the agent, and its
// output is the container's.
func enter(file string, args []string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err = json.Unmarshal(text, &spec); err != nil {
		return err
	}
	// The caller's command with its flags, and the DaemonSet's flags where the command is the same.
	if len(args) > 0 && args[0] == spec.Process.Args[1] {
		args = append(args, spec.Process.Args[2:]...)
	}
	spec.Process.Args = append(spec.Process.Args[:1:1], args...)
	bundle, err := os.MkdirTemp("/run", "bundle-")
	if err != nil {
		return err
	}
	if text, err = json.Marshal(spec); err != nil {
		return err
	}
	if err = os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600); err != nil {
		return err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	return syscall.Exec(runc, []string{"runc", "run", "--bundle", bundle, filepath.Base(bundle)}, os.Environ())
}

// agentContainer is the agent's container in manifests/base, with its pod's volumes.
func agentContainer(t *testing.T) (*corev1.Container, []corev1.Volume) {
	t.Helper()
	text, err := os.ReadFile("../../manifests/base/daemonset.yaml")
	kit.Must(t, err)
	var set appsv1.DaemonSet
	kit.Must(t, yaml.UnmarshalStrict(text, &set))
	pod := set.Spec.Template.Spec
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == "agent" })
	if i < 0 || !pod.HostNetwork {
		t.Fatal("manifests/base/daemonset.yaml has no container called agent in the host's network")
	}
	return &pod.Containers[i], pod.Volumes
}

// specOf is the container as containerd would have it made.
func specOf(t *testing.T, c *corev1.Container, volumes []corev1.Volume) *specs.Spec {
	t.Helper()
	s := c.SecurityContext
	var caps []string
	for _, name := range s.Capabilities.Add {
		caps = append(caps, "CAP_"+string(name))
	}
	var env []string
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env = append(env, e.Name+"="+e.Value)
		}
	}
	opts := []oci.SpecOpts{
		oci.WithEnv(env),
		oci.WithRootFSPath(rootfs(t)), oci.WithProcessArgs(append([]string{"/agent"}, c.Args...)...),
		oci.WithCapabilities(caps), oci.WithHostNamespace(specs.NetworkNamespace), oci.WithMounts(mounts(t, c, volumes)),
		seccomp.WithDefaultProfile(),
	}
	if *s.ReadOnlyRootFilesystem {
		opts = append(opts, oci.WithRootFSReadonly())
	}
	if !*s.AllowPrivilegeEscalation {
		opts = append(opts, oci.WithNoNewPrivileges)
	}
	ctx := namespaces.WithNamespace(context.Background(), "test")
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: "agent"}, opts...)
	kit.Must(t, err)
	spec.Linux.RootfsPropagation = "rslave" // as containerd does where a mount wants propagation
	return spec
}

// rootfs is what the image holds.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"agent", "bond"} {
		program, err := os.ReadFile(filepath.Join("../../bin", name))
		kit.Must(t, err)
		kit.Must(t, os.WriteFile(filepath.Join(dir, name), program, 0o755))
	}
	return dir
}

// mounts are the container's volumes, which the kubelet would have made where they are missing.
func mounts(t *testing.T, c *corev1.Container, volumes []corev1.Volume) []specs.Mount {
	t.Helper()
	var out []specs.Mount
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		host := volumes[i].HostPath
		if volumes[i].EmptyDir != nil {
			out = append(out, specs.Mount{Source: "tmpfs", Destination: m.MountPath, Type: "tmpfs", Options: []string{"mode=0777"}})
			continue
		}
		if *host.Type == corev1.HostPathDirectoryOrCreate {
			kit.Must(t, os.MkdirAll(host.Path, 0o755))
		}
		options := []string{"rbind", "rprivate", "rw"}
		if m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationHostToContainer {
			options[1] = "rslave"
		}
		if m.ReadOnly {
			options[2] = "ro"
		}
		out = append(out, specs.Mount{Source: host.Path, Destination: m.MountPath, Type: "bind", Options: options})
	}
	return out
}

// program is a directory whose program agent runs in that container, with all else that package heal wants.
func program(t *testing.T, spec *specs.Spec) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	kit.Must(t, err)
	bin, err := filepath.Abs("../../bin")
	kit.Must(t, err)
	text, err := json.Marshal(spec)
	kit.Must(t, err)
	file := filepath.Join(dir, "spec.json")
	kit.Must(t, os.WriteFile(file, text, 0o600))
	t.Setenv(specEnv, file)
	for name, target := range map[string]string{"agent": self, "bond": filepath.Join(bin, "bond"), "cni": filepath.Join(bin, "cni")} {
		kit.Must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	return dir
}
