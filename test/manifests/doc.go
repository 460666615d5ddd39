// Package manifests checks manifests/ against a real API server: that every kustomization is taken, field by field,
// and that the pods of its DaemonSet are let in. Those tests carry the build tag kube.
package manifests
