package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parentIngress is TC_H_INGRESS and TC_H_CLSACT (linux/pkt_sched.h): the place of clsact and ingress.
const parentIngress = 0xfffffff1

// usualQdiscs are root queueing disciplines that the kernel gives a link itself, when it is first set up: the values of
// net.core.default_qdisc in the kernel and with systemd, and what is used where there are several queues or none.
var usualQdiscs = []string{"", "noop", "noqueue", "mq", "pfifo_fast", "fq_codel"}

// usualQdisc reports whether the kernel gives links a root queueing discipline by itself. The node's default is not a
// setting of the pod. Its sysctl exists in the initial netns only, in which the agent runs; elsewhere it is not known.
func (k *Kernel) usualQdisc(kind string) bool {
	if slices.Contains(usualQdiscs, kind) {
		return true
	}
	node, err := os.ReadFile(filepath.Join(k.sysctl, "core/default_qdisc"))
	return err == nil && strings.TrimSpace(string(node)) == kind
}

// trafficControl returns the kinds of a link's queueing disciplines. That of the root is in the link's message. The
// other one takes a request, and no event reports it, so what was read before is used for a while unless it must be
// fresh. The result is nil if it cannot be read: no repair may fail because of what is only named.
func (c *conn) trafficControl(d *device, fresh bool) []string {
	names := []string{}
	if !c.kernel.usualQdisc(d.qdisc) {
		names = append(names, "root qdisc "+d.qdisc)
	}
	kind, err := c.kernel.qdiscs.get(linkKey{c.ns.ID(), d.Index}, fresh, func() (string, error) { return c.ingressQdisc(d.Index) })
	if err != nil {
		return nil
	}
	if kind != "" {
		names = append(names, kind)
	}
	return names
}

// ingressQdisc returns the kind of a link's clsact or ingress discipline; empty if it has none. Both have the same
// place and cannot exist together. The kernel sends the discipline to the requester only if it is to be echoed
// (rtnetlink_send), and nothing if there is none, so an acknowledgement is requested.
func (c *conn) ingressQdisc(index int) (kind string, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_ACK|unix.NLM_F_ECHO)
	req.AddData(&nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(index), Parent: parentIngress})
	msgs, err := c.do(req, unix.RTM_NEWQDISC)
	switch {
	case err == nil && len(msgs) == 0, errors.Is(err, unix.ENOENT):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("queueing discipline of ifindex %d: %w", index, classify(err))
	case len(msgs[0]) < nl.SizeofTcMsg:
		return "", fmt.Errorf("queueing discipline of ifindex %d: message of %d bytes", index, len(msgs[0]))
	}
	err = eachAttr(msgs[0][nl.SizeofTcMsg:], func(typ uint16, v []byte) error {
		if typ == nl.TCA_KIND {
			kind = text(v)
		}
		return nil
	})
	return kind, err
}
