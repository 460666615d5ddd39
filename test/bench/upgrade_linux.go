package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	pingSource, pingTarget = "10.57.0.1", "10.57.0.2"
	pingPause              = 10 * time.Millisecond
	pingPods               = 2
)

// upgrade counts the packets that a pod loses while its node's agent is replaced. Two pods with bonds of VFs ping.
func upgrade(ctx context.Context, o *options) (r *report, err error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	var pods []*bondedPod
	defer func() {
		for _, p := range pods {
			err = errors.Join(err, p.end())
		}
	}()
	for i, address := range []string{pingSource, pingTarget} {
		var p *bondedPod
		if p, err = newBondedPod(ctx, o, guest, fmt.Sprint("ping", i), i, true); err != nil {
			return nil, err
		}
		pods = append(pods, p)
		if _, err = kit.IP(p.path(), "address", "add", address+"/24", "dev", bondName); err != nil {
			return nil, err
		}
	}
	if err = awaitPing(ctx, pods[0].path()); err != nil {
		return nil, err
	}
	u := &upgrades{o: o, pod: pods[0].path()}
	if err = u.start(ctx, filepath.Join(o.bin, "agent")); err != nil {
		return nil, err
	}
	defer func() { u.agent.stop() }()
	r = &report{
		title: "Upgrade: packets that a pinging pod loses",
		head:  []string{"meanwhile", "sent", "lost"},
	}
	for _, way := range []struct {
		name    string
		replace func(context.Context) error
	}{
		{"nothing", func(context.Context) error { return nil }},
		{"the agent is restarted", u.restart},
		{"the agent is killed and started", u.kill},
		{"plugin and agent are replaced by those of another image", u.replace},
		{"another agent is started, which waits for the first one's end", u.overlap},
	} {
		sent, lost, err := u.ping(ctx, way.replace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", way.name, err, u.agent.log.String())
		}
		r.add(way.name, fmt.Sprint(sent), fmt.Sprint(lost))
	}
	r.remarks = append(r.remarks, fmt.Sprintf("One packet per %s between two pods with bonds of two VFs; Linux %s under %s.", pingPause, guest.Kernel, guest.Accel))
	return r, nil
}

// awaitPing waits until one packet is answered.
func awaitPing(ctx context.Context, path string) error {
	for limit := time.Now().Add(time.Minute); ; {
		_, err := kit.Run(path, "ping", "-c", "1", "-W", "1", pingTarget)
		if err == nil || ctx.Err() != nil || time.Now().After(limit) {
			if err != nil {
				state, _ := kit.IP(path, "address")
				err = fmt.Errorf("%w\n%s", err, state)
			}
			return errors.Join(err, ctx.Err())
		}
	}
}

type upgrades struct {
	o     *options
	pod   string
	agent *agent
}

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// ping replaces the agent while the pod pings, and counts what was not answered.
func (u *upgrades) ping(ctx context.Context, replace func(context.Context) error) (sent, lost int, err error) {
	replaced := make(chan error, 1)
	go func() { replaced <- replace(ctx) }()
	out, err := kit.Run(u.pod, "ping", "-q", "-i", fmt.Sprint(pingPause.Seconds()), "-c", strconv.Itoa(u.o.pings), "-W", "2", pingTarget)
	if replaceErr := <-replaced; replaceErr != nil {
		return 0, 0, replaceErr
	}
	found := pingSummary.FindSubmatch(out)
	if found == nil {
		return 0, 0, fmt.Errorf("ping: %w: %s", err, out)
	}
	sent, _ = strconv.Atoi(string(found[1]))
	received, _ := strconv.Atoi(string(found[2]))
	return sent, sent - received, nil
}

func (u *upgrades) restart(ctx context.Context) (err error) {
	u.agent.stop()
	return u.start(ctx, filepath.Join(u.o.bin, "agent"))
}

func (u *upgrades) start(ctx context.Context, program string) error {
	a, err := startProgram(ctx, program)
	if err == nil {
		u.agent = a
		_, err = a.allReady(ctx, pingPods)
	}
	return err
}

func (u *upgrades) kill(ctx context.Context) error {
	if err := u.agent.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return u.restart(ctx)
}

// replace does what a DaemonSet's rolling update does: the old agent ends, the new image's init container installs the
// plugin, and its agent starts.
func (u *upgrades) replace(ctx context.Context) error {
	u.agent.stop()
	image, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	program := filepath.Join(image, "agent")
	if err = copyFile(filepath.Join(u.o.bin, "agent"), program); err != nil {
		return err
	}
	if err = copyFile(filepath.Join(u.o.bin, "bond"), filepath.Join(image, "bond")); err != nil {
		return err
	}
	cni := filepath.Join(image, "cni")
	if err = os.Mkdir(cni, 0o755); err != nil { //nolint:gosec // as a node's
		return err
	}
	if _, err = kit.Run("", program, "install-cni", "--dir", cni); err != nil {
		return err
	}
	return u.start(ctx, program)
}

// overlap starts the new agent while the old one still runs.
func (u *upgrades) overlap(ctx context.Context) error {
	old := u.agent
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
		old.stop()
	}()
	defer func() { <-stopped }()
	return u.start(ctx, filepath.Join(u.o.bin, "agent"))
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // a program of ours
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755) //nolint:gosec // a program
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
