package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	config = `{"type": "bond", "cniVersion": "1.0.0", "name": "bench", "mode": "active-backup", "failOverMac": 1,
		"linksInContainer": true, "miimon": "100", "links": [{"name": "net1"}, {"name": "net2"}]%s}`
	hostLocal = `, "ipam": {"type": "host-local", "subnet": "10.56.0.0/16"}`
)

// contender is a program that makes and removes a bond as a CNI plugin.
type contender struct {
	name, program string
	environment   []string
	arguments     []string
	isPlugin      bool // it has CNI's verbs; otherwise it does the same for each
	add, del      samples
}

// verbs measures ADD and DEL as whole processes.
func verbs(ctx context.Context, o *options) (*report, error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	p, err := newPod("bench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.end() }()
	if err = p.takeVFs(guest, 0); err != nil { //nolint:contextcheck // test/kit waits by itself
		return nil, err
	}
	r := &report{
		title: "ADD and DEL of a bond of two VFs, whole processes, medians",
		head:  []string{"", "ADD, ms", "ratio", "DEL, ms", "ratio"},
		plot:  &plot{title: "ADD and DEL of a bond of two VFs, whole processes; medians in red"},
	}
	for _, withIPAM := range []bool{false, true} {
		all, err := measureVerbs(ctx, o, p, withIPAM)
		if err != nil {
			return nil, err
		}
		kind := map[bool]string{false: "without IPAM", true: "host-local"}[withIPAM]
		floor := all[0]
		for _, c := range all {
			r.add(c.name+", "+kind, millis(c.add.median()), ratio(c.add.median(), floor.add.median()), millis(c.del.median()), ratio(c.del.median(), floor.del.median()))
			if c.isPlugin {
				r.plot.rows = append(r.plot.rows, plotRow{"ADD " + kind + ", " + c.name, c.add}, plotRow{"DEL " + kind + ", " + c.name, c.del})
			}
		}
	}
	r.remarks = append(r.remarks, fmt.Sprintf("%d rounds of each, alternating; Linux %s under %s.", o.rounds, guest.Kernel, guest.Accel))
	return r, nil
}

// contenders returns all programs, the floor first.
func contenders(o *options, withIPAM bool) []*contender {
	floor := filepath.Join(o.bin, "floor")
	all := []*contender{
		{name: "floor", program: floor, arguments: []string{"net1", "net2"}, isPlugin: true},
		{name: "bond", program: filepath.Join(o.bin, "bond"), isPlugin: true},
	}
	if withIPAM {
		all[0].environment = []string{"FLOOR_IPAM=" + filepath.Join(o.bin, "cni", "host-local")}
	}
	if o.peer != "" {
		all = append(all, &contender{name: "peer", program: o.peer, isPlugin: true})
	}
	return append(all, &contender{name: "empty process", program: floor})
}

func measureVerbs(ctx context.Context, o *options, p *pod, withIPAM bool) ([]*contender, error) {
	stdin := fmt.Sprintf(config, map[bool]string{true: hostLocal}[withIPAM])
	all := contenders(o, withIPAM)
	for round := range o.rounds + 1 { // the first one only fills caches
		for _, c := range all {
			if err := p.reset(); err != nil {
				return nil, err
			}
			add, err := c.call(ctx, o, p, "ADD", stdin, round)
			if err == nil && c.isPlugin {
				err = p.check()
			}
			if err != nil {
				return nil, fmt.Errorf("ADD of %s: %w", c.name, err)
			}
			del, err := c.call(ctx, o, p, "DEL", stdin, round)
			if err != nil {
				return nil, fmt.Errorf("DEL of %s: %w", c.name, err)
			}
			if round > 0 {
				c.add, c.del = append(c.add, add), append(c.del, del)
			}
		}
	}
	return all, nil
}

// call runs a verb and returns how long its process took.
func (c *contender) call(ctx context.Context, o *options, p *pod, verb, stdin string, round int) (time.Duration, error) {
	if !c.isPlugin {
		verb = "NONE"
	}
	cmd := exec.CommandContext(ctx, c.program, c.arguments...) //nolint:gosec // a program that is measured
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.Env = append(os.Environ(),
		"CNI_COMMAND="+verb, fmt.Sprintf("CNI_CONTAINERID=%s-%d", c.name, round), "CNI_NETNS="+p.path(), "CNI_IFNAME="+bondName,
		"CNI_PATH="+o.bin+":"+filepath.Join(o.bin, "cni"), fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=p;K8S_POD_UID=u%d", round))
	cmd.Env = append(cmd.Env, c.environment...)
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		err = errors.Join(err, errors.New(strings.TrimSpace(out.String())))
	}
	return took, err
}
