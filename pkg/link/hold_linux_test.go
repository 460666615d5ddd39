package link

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// mustOpen opens the pod for an operation.
func (g *fixture) mustOpen() *conn {
	g.Helper()
	c, err := g.k.openPod(g.Context(), g.r.Sandbox)
	kit.Must(g, err)
	return c
}

func TestHoldSharesConnections(t *testing.T) {
	g := newFixture(t)
	first := g.mustOpen()
	first.close()
	if again := g.mustOpen(); again == first {
		t.Error("a conn was kept although nothing held it")
	} else {
		again.close()
	}
	outer, inner := g.k.Hold(g.r.Sandbox), g.k.Hold(g.r.Sandbox)
	one, two := g.mustOpen(), g.mustOpen()
	if one == two {
		t.Fatal("two operations at once have one conn")
	}
	one.close()
	two.close()
	inner()
	next := g.mustOpen()
	if next != one {
		t.Error("the conn was not kept for the next operation")
	}
	if _, err := next.deviceByName("lo"); err != nil {
		t.Error(err)
	}
	next.close()
	outer()
	if len(g.k.conns.idle) > 0 || len(g.k.conns.holders) > 0 {
		t.Errorf("after release there are %d idle conns and %d holders", len(g.k.conns.idle), len(g.k.conns.holders))
	}
}

// TestHoldLeavesNoUnreadResponse: what is left of an interrupted dump would delay the next operation's response.
func TestHoldLeavesNoUnreadResponse(t *testing.T) {
	g := newFixture(t)
	defer g.k.Hold(g.r.Sandbox)()
	c := g.mustOpen()
	stop := errors.New("stop")
	if _, err := c.list(allLinks, func(*device, int) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := c.stream(allLinks(), 0x10, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	c.close()
	next := g.mustOpen()
	defer next.close()
	if next == c {
		t.Error("a conn with an unread response was kept")
	}
}

// TestHoldDoesNotHideTheEnd: a held netns exists longer than its path, and must count as gone nevertheless.
func TestHoldDoesNotHideTheEnd(t *testing.T) {
	g := newFixture(t)
	defer g.k.Hold(g.r.Sandbox)()
	g.mustOpen().close()
	netnstest.Delete(t, g.pod)
	if _, err := g.k.openPod(t.Context(), g.r.Sandbox); !errors.Is(err, bond.ErrGone) {
		t.Errorf("the path is gone: got %v, want ErrGone", err)
	}
	netnstest.NewAt(t, g.pod)
	if _, err := g.k.openPod(t.Context(), g.r.Sandbox); !errors.Is(err, bond.ErrGone) {
		t.Errorf("another netns is at the path: got %v, want ErrGone", err)
	}
}
