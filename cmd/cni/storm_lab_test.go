//go:build lab

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// batch runs commands of iproute2 in one process.
func (p *pod) batch(format string, names []string) {
	p.t.Helper()
	var in, problems bytes.Buffer
	for _, name := range names {
		in.WriteString(strings.ReplaceAll(format, "POD", name) + "\n")
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin, cmd.Stderr = &in, &problems
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("ip -batch: %v: %s", err, &problems)
	}
}

// TestManyAtOnceInTheLab: 24 ADDs at once, of bonds of all modes in a pod each, and then 24 DELs, each a process as a
// runtime starts it; nothing is left.
func TestManyAtOnceInTheLab(t *testing.T) {
	const many = 24
	p := newPod(t)
	names := make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", p.name, i)
	}
	p.batch("netns add POD", names)
	t.Cleanup(func() { p.batch("netns del POD", names) })
	// The kernel wants the names to be free here, too, where other tests leave VFs called net1.
	p.batch("link add leg1 netns POD type dummy\nlink add leg2 netns POD type dummy", names)
	pods := make([]*pod, many)
	for i, name := range names {
		sub := *p
		sub.name, sub.netns = name, "/run/netns/"+name
		pods[i] = &sub
	}
	all := func(verb string) (out []string) {
		t.Helper()
		out = make([]string, many)
		failed := make([]*types.Error, many)
		began := time.Now()
		var wg sync.WaitGroup
		for i, q := range pods {
			conf := q.local(fmt.Sprintf(`"mode":%d,"links":[{"name":"leg1"},{"name":"leg2"}]`, i%7), "")
			wg.Go(func() { out[i], failed[i] = q.bare(verb, "bond0", conf, nil) })
		}
		wg.Wait()
		t.Logf("%d times %s at once: %s", many, verb, time.Since(began).Round(time.Millisecond))
		for i, err := range failed {
			if err != nil {
				t.Errorf("%s of pod %d: %v", verb, i, err)
			}
		}
		return out
	}
	given := map[string]bool{}
	for i, text := range all("ADD") {
		var result struct{ IPs []struct{ Address string } }
		if err := json.Unmarshal([]byte(text), &result); err != nil || len(result.IPs) != 1 {
			t.Errorf("result of pod %d: %s, %v", i, text, err)
			continue
		}
		given[result.IPs[0].Address] = true
		links := pods[i].links()
		if b := links["bond0"]; b == nil || !b.up() || links["leg1"].Master != "bond0" || links["leg2"].Master != "bond0" {
			t.Errorf("pod %d: %+v, %+v, %+v", i, b, links["leg1"], links["leg2"])
		}
	}
	if len(given) != many || len(p.leases()) != many {
		t.Errorf("%d addresses, %d leases for %d pods", len(given), len(p.leases()), many)
	}
	all("DEL")
	for i, q := range pods {
		if l := q.links(); l["bond0"] != nil || l["leg1"] == nil || l["leg1"].Master != "" || l["leg2"] == nil || l["leg2"].up() {
			t.Errorf("pod %d after DEL: %+v", i, l)
		}
	}
	p.nothingLeft(p.links())
}
