package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

// portDeadline bounds the wait for the virtio-serial port, which the kernel creates during boot.
const portDeadline = 30 * time.Second

// serve is what the command server does: it greets the host, sets the cards up, and runs commands until the host is
// gone. Then the guest ends.
func serve() error {
	boot, err := readBoot(ordersFile)
	if err != nil {
		return err
	}
	// For the programs that this server searches for, and for those that it starts.
	for _, setting := range boot.Env {
		name, value, _ := strings.Cut(setting, "=")
		if err = os.Setenv(name, value); err != nil {
			return fmt.Errorf("environment: %w", err)
		}
	}
	groups, err := newGroups()
	if err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	session, err := yamux.Client(port, wire.Config())
	if err != nil {
		return fmt.Errorf("session with the host: %w", err)
	}
	defer func() { _ = session.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err = greet(ctx, session, boot); err != nil {
		return err
	}
	return acceptCommands(session, groups)
}

// openPort waits for the virtio-serial port and opens it.
func openPort() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), portDeadline)
	defer cancel()
	var device string
	err := until(ctx, func() bool {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, path := range names {
			name, err := os.ReadFile(path)
			if err == nil && strings.TrimSpace(string(name)) == wire.Port {
				device = filepath.Base(filepath.Dir(path))
			}
		}
		return device != ""
	})
	if err != nil {
		return nil, fmt.Errorf("virtio-serial port %s: %w", wire.Port, err)
	}
	f, err := os.OpenFile("/dev/"+device, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("virtio-serial port: %w", err)
	}
	return f, nil
}

// greet reports to the host that the guest is up, and then its cards or why they could not be set up. The error is that
// of the report.
func greet(ctx context.Context, session *yamux.Session, boot *wire.Boot) error {
	stream, err := session.OpenStream()
	if err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	defer func() { _ = stream.Close() }()
	enc := gob.NewEncoder(stream)
	if err := enc.Encode(wire.Hello{Kernel: kernelRelease()}); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	var ready wire.Ready
	if t, err := setUpCards(ctx, boot); err != nil {
		ready.Err = err.Error()
	} else {
		ready.Topology = *t
	}
	// Expedited grace periods made the boot quick; tests need the kernel's normal timing.
	if err := os.WriteFile("/sys/kernel/rcu_expedited", []byte("0"), 0); err != nil && ready.Err == "" {
		ready.Err = err.Error()
	}
	if err := enc.Encode(ready); err != nil {
		return fmt.Errorf("report the cards to the host: %w", err)
	}
	return nil
}

// acceptCommands runs the host's commands, and waits for all of them before it returns.
func acceptCommands(session *yamux.Session, groups *groups) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		stream, err := session.AcceptStream()
		if errors.Is(err, io.EOF) || errors.Is(err, yamux.ErrSessionShutdown) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a command: %w", err)
		}
		running.Go(func() { handle(stream, groups) })
	}
}

// handle runs one command. A broken stream means that the host has cancelled it.
func handle(stream net.Conn, groups *groups) {
	defer func() { _ = stream.Close() }()
	dec := gob.NewDecoder(stream)
	var req wire.Request
	if err := dec.Decode(&req); err != nil {
		return
	}
	runCommand(stream, dec, &req, groups)
}

// outputs sends the output of a command's pipes.
type outputs struct {
	mu  sync.Mutex
	enc *gob.Encoder
}

// send sends one message. Its error is ignored: a host that no longer listens closes the stream, which ends the
// command.
func (o *outputs) send(out wire.Output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.enc.Encode(out)
}

// writer returns a writer that sends each write as one message, made by wrap.
func (o *outputs) writer(wrap func([]byte) wire.Output) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		o.send(wrap(p))
		return len(p), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
