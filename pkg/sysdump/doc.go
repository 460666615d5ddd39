// Package sysdump collects what a bug report about a node's bonds needs into one archive: records, kernel state of host
// and pods, sriov-cni's files, logs and versions, without secrets. What cannot be read is listed in the archive and
// ends nothing. It changes nothing, makes no decisions about bonds, and its memory does not grow with what a pod has
// created.
package sysdump
