// Package wire is the protocol between host and guest of the lab.
//
// They share one byte pipe, a virtio-serial port, over which yamux multiplexes any number of streams, each with its own
// flow control: a command with much output does not block others. The guest opens the first stream when its root is
// mounted. It sends a Hello, and a Ready once its cards exist. From then on the host opens one stream per command: a
// Request, then Inputs to the guest and Outputs from it, of which the last has Exit set. If the host closes the stream
// early, the command is killed.
//
// Messages are encoded by gob.
package wire
