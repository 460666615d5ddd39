//go:build !linux

package main

func main() { panic("sriov-cni works on Linux only") }
