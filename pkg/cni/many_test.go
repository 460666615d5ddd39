package cni

import (
	"fmt"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// TestSeveralBonds: two bonds in one pod, and the same pod name twice.
func TestSeveralBonds(t *testing.T) {
	n := newNode(t, 2)
	pod := n.pod("p1", 0)
	n.must(n.MoveToNetns(linktest.Host, n.hostVF(0, 1), pod, "net3"))
	n.must(n.MoveToNetns(linktest.Host, n.hostVF(1, 1), pod, "net4"))
	before := n.String()
	one := n.args("c1", pod, n.config(nil))
	two := n.args("c1", pod, n.config(map[string]any{"links": []any{map[string]string{"name": "net3"}, map[string]string{"name": "net4"}}}))
	two.IfName = "bond1"
	r1, r2 := n.mustAdd(one), n.mustAdd(two)
	if r1.IPs[0].Address.String() == r2.IPs[0].Address.String() {
		t.Errorf("both have %s", r1.IPs[0].Address.String())
	}
	n.mustDel(one)
	if n.link(pod, "net3").Master != n.link(pod, "bond1").Index {
		t.Error("the other bond was harmed")
	}
	n.mustDel(two)
	n.nothingLeft(before)
}

// TestManyAtOnce: 64 ADDs at once, then 64 DELs.
func TestManyAtOnce(t *testing.T) {
	const count = 24
	n := newNode(t, count)
	before := ""
	pods := make([]string, count)
	for i := range pods {
		pods[i] = n.pod(fmt.Sprintf("p%d", i), i)
	}
	before = n.String()
	argsOf := func(i int) *skel.CmdArgs { return n.args(fmt.Sprintf("c%d", i), pods[i], n.config(nil)) }
	ips := make([]string, count)
	n.must(inParallel(count, func(i int) error {
		result, err := n.add(argsOf(i))
		if err == nil {
			ips[i] = result.IPs[0].Address.String()
		}
		return err
	}))
	slices.Sort(ips)
	if distinct := slices.Compact(ips); len(distinct) != count {
		t.Errorf("%d different addresses for %d pods", len(distinct), count)
	}
	n.must(inParallel(count, func(i int) error { return n.del(argsOf(i)) }))
	n.nothingLeft(before)
}
