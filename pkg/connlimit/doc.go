// Package connlimit bounds the connections of a server. Clients that keep connections open do not lock others out: if
// there are too many, the oldest is closed.
package connlimit
