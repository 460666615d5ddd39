package link

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// fixture is a kernel whose host and pod are netns made for the test.
type fixture struct {
	testing.TB
	k         *Kernel
	host, pod string
	r         *bond.Record
}

// newFixture makes a fixture without links except loopback; its record names no members.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	g := &fixture{TB: t, host: netnstest.New(t), pod: netnstest.New(t)}
	k, err := New(Options{HostNetns: g.host, SysfsPCI: t.TempDir(), SriovDir: t.TempDir(), ClaimDir: t.TempDir()})
	kit.Must(t, err)
	g.k = k
	g.r = &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Sandbox: sandboxAt(t, g.pod)}
	return g
}

// in runs ip in a netns and returns its output.
func (g *fixture) in(path string, args ...string) []byte {
	g.Helper()
	out, err := kit.IP(path, args...)
	kit.Must(g, err)
	return out
}

// batch runs ip commands in the pod, in one process.
func (g *fixture) batch(lines string) {
	g.Helper()
	kit.Must(g, kit.Links{}.Batch(g.pod, lines))
}

// shown is ip's output about a link; index 0 if there is no link.
type shown struct {
	Index    int      `json:"ifindex"`
	Name     string   `json:"ifname"`
	AltNames []string `json:"altnames"`
	MAC      bond.MAC `json:"address"`
	MTU      int      `json:"mtu"`
	Flags    []string `json:"flags"`
	Master   string   `json:"master"`
}

func (g *fixture) show(path, name string) shown {
	g.Helper()
	out, err := kit.IP(path, "-d", "-j", "link", "show", "dev", name)
	if err != nil {
		return shown{}
	}
	var all []shown
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		g.Fatalf("ip link show dev %s: %v: %s", name, err, out)
	}
	return all[0]
}

// veth makes a veth: name in the netns at path, its peer, up, in the host as p-name.
func (g *fixture) veth(path, name string) shown {
	g.Helper()
	peer := "p-" + name
	g.in(g.host, "link", "add", name, "type", "veth", "peer", "name", peer)
	if path != g.host {
		g.in(g.host, "link", "set", name, "netns", g.pod)
	}
	g.in(g.host, "link", "set", peer, "up")
	return g.show(path, name)
}

// member adds a veth to the pod and the record.
func (g *fixture) member(name string) {
	g.Helper()
	l := g.veth(g.pod, name)
	g.r.Members = append(g.r.Members, bond.Member{Name: name, Index: l.Index, Kind: "veth", Serial: g.serial(g.pod, name), MAC: l.MAC, Original: bond.Original{Name: name}})
}

func (g *fixture) see() bond.Observed {
	g.Helper()
	o, err := g.k.Observe(g.Context(), g.r)
	kit.Must(g, err)
	return o
}

// ref refers to a link as it is now.
func (g *fixture) ref(path, name string) plan.LinkRef {
	g.Helper()
	l := g.show(path, name)
	if l.Index == 0 {
		g.Fatalf("no link %s in %s", name, path)
	}
	place := bond.InPod
	if path == g.host {
		place = bond.InHost
	}
	return plan.LinkRef{Location: place, Index: l.Index, Name: name, Serial: g.serial(path, name)}
}

// serial reads the link's serial with a shell in the netns.
func (g *fixture) serial(path, name string) uint64 {
	g.Helper()
	out, err := kit.Run(path, "unshare", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys && stat -L -c %i /sys/class/net/"+name)
	if err != nil {
		g.Fatalf("%v: %s", err, out)
	}
	serial, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	kit.Must(g, err)
	return serial
}

func (g *fixture) apply(a plan.Action) {
	g.Helper()
	kit.Must(g, g.k.Apply(g.Context(), g.r, a))
}

// conn is rtnetlink in the pod, for what would need a bond with Apply.
func (g *fixture) conn() *conn {
	g.Helper()
	c, err := g.k.openPod(g.Context(), g.r.Sandbox)
	kit.Must(g, err)
	g.Cleanup(c.close)
	return c
}
