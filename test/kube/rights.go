package kube

import "testing"

// rights are the manifests that an agent's rights are made of, in the order in which they can be applied. The last
// one holds the admission policy.
var rights = []string{
	"manifests/base/namespace.yaml", "manifests/base/serviceaccount.yaml", "manifests/base/rbac.yaml", "manifests/base/admission.yaml",
}

// InstallRights gives all agents the rights that manifests/base gives them, and returns when they are in force.
func (c *ControlPlane) InstallRights(t testing.TB) {
	t.Helper()
	c.Apply(t, rights...)
}
