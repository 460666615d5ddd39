// Package crash kills the plugin and the agent before every single change that they make, and has every single system call
// with which they change or read the kernel's state fail, on the real kernel. It shows that a retry, a DEL or the agent brings
// each bond to its end from there.
//
// The programs under test are the ones that are shipped, without hooks: a tracer runs them, counts the system calls that
// change the kernel's or a file's state and the executions of an IPAM plugin, and sends SIGKILL before the n-th, or skips that
// call. To have the kernel refuse a netlink request, the tracer replaces the request by one that the kernel only acknowledges,
// and writes the error into the answer. It can do that on amd64 only.
package crash
