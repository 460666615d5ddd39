package heal

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// event is one kernel change of a link, an address or a route, in the host's netns or a pod's.
type event struct {
	at   time.Time
	text string
}

// monitor is a running ip monitor, an independent report of what happens in the kernel.
type monitor struct {
	cmd    *exec.Cmd
	events *feed[event]
	done   chan struct{}
	failed bytes.Buffer // its standard error; read it after done
}

// startMonitor starts a monitor that adds to events.
func startMonitor(events *feed[event]) (*monitor, error) {
	m := &monitor{events: events, cmd: exec.Command("ip", "-o", "monitor", "all-nsid", "link", "address", "route"), done: make(chan struct{})}
	m.cmd.Stderr = &m.failed
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("ip monitor: %w", err)
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("ip monitor: %w", err)
	}
	go m.read(out)
	return m, nil
}

func (m *monitor) read(out io.Reader) {
	defer close(m.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m.events.add(event{time.Now(), lines.Text()})
	}
	_ = m.cmd.Wait() // killed, or it ended by itself: then the next wait for an event reports it
}

func (m *monitor) stop() {
	_ = m.cmd.Process.Kill()
	<-m.done
}
