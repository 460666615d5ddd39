// Package runtimetest is a fake container runtime, served on a real socket, and the contract suite for fake and real
// runtimes. It is for tests only.
package runtimetest
