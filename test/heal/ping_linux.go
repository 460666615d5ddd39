package heal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pings is a ping(8) that runs in pod A all the time, in place of the pod's own processes: it keeps its socket through
// every fault and is never restarted.
type pings struct {
	cmd     *exec.Cmd
	replies feed[reply] // in the order of arrival
	done    chan struct{}
	mu      sync.Mutex
	other   []string // other output, for reports of failures
}

// reply is the reply to one ping.
type reply struct {
	seq int
	at  time.Time
}

// startPings pings an address 20 times a second from a netns.
func startPings(netns, address string) (*pings, error) {
	p := &pings{done: make(chan struct{})}
	// nsenter rather than ip netns exec: it execs ping and mounts nothing.
	p.cmd = exec.Command("nsenter", "--net="+netns, "ping", "-n", "-D", "-i", "0.05", address) //nolint:gosec // the test's own names
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	go p.read(out)
	return p, nil
}

func (p *pings) read(out io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if seq, ok := replySeq(lines.Text()); ok {
			p.replies.add(reply{seq, time.Now()})
			continue
		}
		p.mu.Lock()
		p.other = append(p.other, lines.Text())
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // alive reports it
}

// replySeq returns the sequence number of a line such as "[1700000000.123456] 64 bytes from 10.56.217.3: icmp_seq=12
// ttl=64 time=1.2 ms".
func replySeq(line string) (int, bool) {
	if !strings.Contains(line, " bytes from ") || strings.Contains(line, "(DUP!)") {
		return 0, false
	}
	_, rest, found := strings.Cut(line, "icmp_seq=")
	if !found {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, " ")
	seq, err := strconv.Atoi(number)
	return seq, err == nil
}

// alive returns why the process has ended; nil while it runs.
func (p *pings) alive() error {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("the pod's process (ping) has ended: %s", strings.Join(p.other, "; "))
	default:
		return nil
	}
}

// window counts the pings that are lost between open and close.
type window struct {
	p     *pings
	place int
	first int
}

// open starts a window with a ping that is answered.
func (p *pings) open(ctx context.Context) (*window, error) {
	first, place, err := p.replies.await(ctx, p.replies.len(), func(reply) bool { return true })
	if err != nil {
		return nil, errWaited("an answered ping", err)
	}
	return &window{p: p, place: place, first: first.seq}, nil
}

// close waits until pings are answered and returns how many were lost since open.
func (w *window) close(ctx context.Context) (int, error) {
	// A reply may still be on its way: wait for the reply to a later request.
	last, end, err := w.p.replies.await(ctx, w.p.replies.len(), func(r reply) bool { return r.seq > w.first })
	if err != nil {
		return 0, errWaited("an answered ping", err)
	}
	answered := map[int]bool{}
	for _, r := range w.p.replies.from(w.place)[:end-w.place] {
		answered[r.seq] = true
	}
	lost := 0
	for seq := w.first + 1; seq < last.seq; seq++ {
		if !answered[seq] {
			lost++
		}
	}
	return lost, nil
}

func (p *pings) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
