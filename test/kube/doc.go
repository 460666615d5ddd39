// Package kube runs a real control plane on the loopback: etcd and kube-apiserver, and optionally the
// controller-manager and the scheduler. Tests get clients, pods on nodes, and credentials of an agent from it.
//
//	cp := kube.Start(t)       // or kube.New, which needs no test
//	cp.InstallRights(t)       // the agent's rights, from manifests/base
//	pod := cp.Pod(t, "demo", "p1", "node-a")
//	client, err := kubernetes.NewForConfig(cp.AgentConfig(t, "node-a"))
//
// Unless StartControllers was called, only the API server acts on objects: pods stay as they are, a node is just a
// name, and deleting is immediate. A control plane takes four seconds to start and 400 MB. Share one among the tests of
// a package (Main) and give each test its own namespace.
//
// The programs are those of "make kube". Tests that use them have the build tag kube; this package has none. It knows
// Kubernetes and the names in manifests/, but not bonds.
package kube
