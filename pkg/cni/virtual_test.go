package cni

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// hostLinks makes two virtual links in the host, and a pod in which other links have their ifindexes.
func (n *node) hostLinks() (pod string, config []byte) {
	n.Helper()
	pod = "/run/netns/p1"
	n.EmptyPod("p1")
	for i, name := range []string{"host0", "host1"} {
		l, err := n.AddVirtual(linktest.Host, name)
		n.Must(err)
		n.Must(n.AddTwin(pod, []string{"eth0", "eth1"}[i], l.Index))
		n.Must(n.SetUp(pod, []string{"eth0", "eth1"}[i]))
	}
	return pod, n.Config(map[string]any{"linksInContainer": false, "links": []any{map[string]string{"name": "host0"}, map[string]string{"name": "host1"}}})
}

// TestVirtualHostLinkOfOlderVersion: an ADD of an older version recorded only the ifindex in the host. The link that
// has it in the pod stays there.
func TestVirtualHostLinkOfOlderVersion(t *testing.T) {
	n := newNode(t, 0)
	pod, config := n.hostLinks()
	args := n.Args("c1", pod, config)
	n.MustAdd(args)
	rec := n.Record("c1")
	for i := range rec.Members {
		m := &rec.Members[i]
		m.Index, m.HostIndex, m.Serial, m.Kind = m.HostIndex, 0, 0, ""
	}
	n.Must(n.Store.Save(rec))
	if _, err := n.Engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.MustDel(args)
	for _, name := range []string{"eth0", "eth1"} {
		if l := n.LinkAt(pod, name); l.Master != 0 || !l.Up {
			t.Errorf("%s of the pod: %+v", name, l)
		}
		if _, there := n.Link(linktest.Host, name); there {
			t.Errorf("%s is in the host", name)
		}
	}
	if log := n.stderr.String(); strings.Count(log, "not returned") != 2 {
		t.Errorf("log: %s", log)
	}
}
