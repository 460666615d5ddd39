// Package crash kills the plugin and the agent before every single change that they make. It also makes every single
// system call fail with which they change or read the kernel's state, on the real kernel. It shows that a retry, a DEL
// or the agent completes the work from there.
//
// The programs under test are the shipped ones, without hooks. A tracer runs them and counts the system calls that
// change the kernel's or a file's state, and the executions of an IPAM plugin. It sends SIGKILL before the n-th, or
// skips that call. To make the kernel reject a netlink request, the tracer replaces the request by one that the kernel
// only acknowledges, and writes the error into the response. It can do that on amd64 only.
package crash
