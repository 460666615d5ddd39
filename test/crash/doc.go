// Package crash kills the plugin and the agent before every single change that they make, on the real kernel, and shows that
// a retry, a DEL or the agent brings each bond to its end from there.
//
// The programs under test are the ones that are shipped, without hooks: a tracer runs them, counts the system calls that
// change the kernel's or a file's state and the executions of an IPAM plugin, and sends SIGKILL before the n-th.
package crash
