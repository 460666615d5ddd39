// Package kube runs a real control plane on the loopback: etcd and kube-apiserver, and on demand the
// controller-manager and the scheduler. Tests get clients of it, pods on nodes, and an agent's own credentials.
//
//	cp := kube.Start(t)       // or kube.New, which needs no test
//	cp.InstallRights(t)       // the agent's rights, from manifests/base
//	pod := cp.Pod(t, "demo", "p1", "node-a")
//	client, err := kubernetes.NewForConfig(cp.AgentConfig(t, "node-a"))
//
// Nothing but the API server looks at an object unless StartControllers was called: pods stay as they are, a node
// is a name, and deleting is immediate. A control plane takes four seconds to start and 400 MB: share one among
// the tests of a package (Main) and give each test a namespace of its own.
//
// The programs are those of "make kube". Tests that use them carry the build tag kube; what this package offers
// carries none. It knows Kubernetes and the names in manifests/, and nothing of bonds.
package kube
