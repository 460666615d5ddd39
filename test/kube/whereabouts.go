package kube

import (
	"context"
	"strings"
	"testing"
)

// ApplyWhereabouts creates the resources in which whereabouts stores its allocations.
func (c *ControlPlane) ApplyWhereabouts(t testing.TB) {
	t.Helper()
	c.Apply(t, "test/whereabouts/testdata/crds.yaml")
	if _, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
}

// Allocated returns the allocations in whereabouts' pools and its reservations as text; empty if there are none.
func (c *ControlPlane) Allocated(ctx context.Context) (string, error) {
	pools, err := c.Kubectl(ctx, "get", "ippools", "-n", "kube-system", "-o", "jsonpath={.items[*].spec.allocations}")
	if err != nil {
		return "", err
	}
	reserved, err := c.Kubectl(ctx, "get", "overlappingrangeipreservations", "-n", "kube-system", "-o", "name")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(strings.ReplaceAll(pools, "{}", "") + reserved), nil
}
