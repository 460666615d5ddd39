// Package atomicfile replaces files so that readers see the previous content or the new one, even if the writer is
// killed.
//
// It does not sync: it is for directories on tmpfs and for content that need not outlive a crash of the machine.
package atomicfile
