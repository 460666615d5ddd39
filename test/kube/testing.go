package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// Start starts a control plane for one test. The test fails if a program is missing or does not start.
func Start(t testing.TB) *ControlPlane {
	t.Helper()
	c, err := New(t.Context())
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Main is for a package's TestMain: it starts a control plane that all tests of the package share, stores it in into,
// runs the tests and returns the exit code.
func Main(m *testing.M, into **ControlPlane) int {
	c, err := New(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*into = c
	status := m.Run()
	if err := c.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// Apply applies files, directories of files and kustomizations, server-side, as an administrator. Relative paths start
// at the root of the checkout.
func (c *ControlPlane) Apply(t testing.TB, paths ...string) {
	t.Helper()
	root, err := moduleRoot()
	kit.Must(t, err)
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		flag := "--filename"
		if _, err := os.Stat(filepath.Join(path, "kustomization.yaml")); err == nil {
			flag = "--kustomize"
		}
		if _, err := c.Kubectl(t.Context(), "apply", "--server-side", flag, path); err != nil {
			t.Fatal(err)
		}
	}
}
