package runtime

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// openStream opens a stream of events with a context that ends, too, when gRPC moves the stream to another connection.
// gRPC does so without notice, once, if the server did not process the stream before the connection ended ("transparent
// retry" in its proposal A6). What happened between the two connections is then missed although the stream is open.
func openStream(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	return context.WithValue(ctx, moved{}, cancel), cancel
}

// endMoved is the option of a client whose streams are opened by openStream.
func endMoved() grpc.DialOption { return grpc.WithStatsHandler(moved{}) }

// moved is also the key of what ends a stream.
type moved struct{}

func (moved) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if begin, is := s.(*stats.Begin); is && begin.IsTransparentRetryAttempt {
		if end, is := ctx.Value(moved{}).(context.CancelFunc); is {
			end()
		}
	}
}

func (moved) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (moved) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (moved) HandleConn(context.Context, stats.ConnStats)                       {}
