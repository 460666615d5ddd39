package connlimit

import (
	"net/http"
	"time"
)

// MaxConnections is the number of connections that the servers of the agent's pod have at most.
const MaxConnections = 64

const (
	// ClientTimeout is how long a client may take for a request.
	ClientTimeout = 10 * time.Second

	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10
)

// Server returns a server of h with bounds on what a client can occupy: ClientTimeout for a request, three times as long
// with the response, two minutes without a request, and 16 KiB of headers.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadTimeout: ClientTimeout, WriteTimeout: 3 * ClientTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
}
