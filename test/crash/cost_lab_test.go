//go:build lab

package crash

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// cost is the number of system calls of a verb, by what they do.
type cost struct {
	sockets, enters, requests, opens int
}

func costOf(r Report) (c cost) {
	for _, p := range r.Points {
		switch p.Kind {
		case Socket:
			c.sockets++
		case Enter:
			c.enters++
		case Change, Query, Dump:
			c.requests++
		case Open, File:
			if strings.HasPrefix(p.What, "open") {
				c.opens++
			}
		}
	}
	c.enters /= 2 // in and out
	return c
}

func (c cost) within(limit cost) bool {
	return c.sockets <= limit.sockets && c.enters <= limit.enters && c.requests <= limit.requests && c.opens <= limit.opens
}

// TestCostOfVerbs: in contrast to its time, the number of a verb's system calls is the same on every machine. A change
// that opens a netns or a socket once per operation, or reads a directory of settings file by file, exceeds a limit.
func TestCostOfVerbs(t *testing.T) {
	p := newPod(t)
	for _, tc := range []struct {
		name     string
		config   string
		add, del cost
	}{
		{"without IPAM", config[:strings.Index(config, `"ipam"`)] + `"dns":{}}`, cost{3, 3, 16, 38}, cost{1, 2, 13, 27}},
		{"host-local", config, cost{6, 6, 35, 46}, cost{1, 2, 13, 33}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var err error
			p.conf, err = libcni.NetworkPluginConfFromBytes([]byte(tc.config))
			kit.Must(t, err)
			count := Fault{How: Count}
			added, err := p.add(count)
			kit.Must(t, err)
			deleted, err := p.del(count)
			kit.Must(t, err)
			for _, verb := range []struct {
				name  string
				limit cost
				Report
			}{{"ADD", tc.add, added}, {"DEL", tc.del, deleted}} {
				found := costOf(verb.Report)
				t.Logf("%s: %d sockets, a netns entered %d times, %d requests, %d files opened", verb.name, found.sockets, found.enters, found.requests, found.opens)
				if !found.within(verb.limit) {
					t.Errorf("%s: %+v exceeds %+v:\n%v", verb.name, found, verb.limit, verb.Points)
				}
			}
		})
	}
}
