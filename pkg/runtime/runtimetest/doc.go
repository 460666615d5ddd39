// Package runtimetest is a fake container runtime, served on a real socket, and the contract
// suite that a fake and a real runtime both have to pass. It is imported by tests only.
package runtimetest
