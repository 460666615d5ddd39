// Package metricsproxy serves the agent's metrics over TLS to clients that the API server authenticates and allows to
// read them. It is a process of its own, without capabilities. The agent itself listens on the loopback only. It
// must not know anything about bonds, and must not pass a client's token on.
package metricsproxy
