//go:build lab

package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// leased is a pod with an address of the DHCP server, whose lease the daemon will soon renew.
type leased struct {
	*pod
	server  *server
	daemon  *kit.Output
	conf    *libcni.PluginConfig
	address string
}

// shortly makes the server request a renewal (T1) after 12 s. The minimum lease is two minutes.
var shortly = []string{"--dhcp-option=option:T1,12", "--dhcp-option=option:T2,90"}

func newLeased(t *testing.T, s *server) *leased {
	t.Helper()
	p := newPod(t)
	p.attachVFs()
	s.stop()
	s.dnsmasq("198.51.100.50,198.51.100.59,255.255.255.0,2m", shortly...)
	socket := filepath.Join(t.TempDir(), "dhcp.sock")
	l := &leased{pod: p, server: s, conf: p.dhcpConfig(socket, "58", "59")}
	l.daemon = daemon(t, p, socket, "-timeout", "1s", "-resendmax", "1s", "-resendtimeout", "4s")
	result := p.add(l.conf, "bond0")
	l.address = result.IPs[0].Address.IP.String()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server:\n%s\nwire:\n%s\ndaemon:\n%s", s.log, s.wire, l.daemon)
		}
	})
	return l
}

// agent starts the agent.
func (l *leased) agent() *kit.Output {
	l.t.Helper()
	_, log := start(l.t, "../../bin/agent", "run", "--log-format", "console", "--state-dir", l.state, "--kubeconfig", "none", "--runtime", "none", "--listen", "")
	l.t.Cleanup(func() {
		if l.t.Failed() {
			l.t.Logf("agent:\n%s", log)
		}
	})
	return log
}

func (l *leased) addresses() []string {
	l.t.Helper()
	b := l.links()["bond0"]
	if b == nil {
		return nil
	}
	var all []string
	for _, a := range b.AddrInfo {
		if a.Scope == "global" {
			all = append(all, a.Local)
		}
	}
	return all
}

// status is what agent status reports.
func (l *leased) status() bond.Status {
	l.t.Helper()
	out, err := exec.Command("../../bin/agent", "status", "-o", "json", "--state-dir", l.state).Output()
	var all []bond.Status
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil || len(all) != 1 {
		l.t.Fatalf("agent status: %v: %s", err, out)
	}
	return all[0]
}

// loseLease deletes the bond and waits until the daemon, which wants to renew, has dropped the lease.
func (l *leased) loseLease() {
	l.t.Helper()
	l.ip("-n", l.name, "link", "del", "bond0")
	l.wait("the daemon to give the lease up", func() bool { return strings.Contains(l.daemon.String(), "terminating lease maintenance") })
}

// TestLeaseIsObtainedAgain: a bond that was missing at the time of a renewal is recreated without its address. It gets
// the address when the daemon has a lease for it, which it renews from then on. A bond that is recreated between two
// renewals keeps its lease.
func TestLeaseIsObtainedAgain(t *testing.T) {
	l := newLeased(t, serve(t))
	l.loseLease()
	log := l.agent()
	l.wait("the bond", func() bool { return l.links()["bond0"] != nil })
	if a := l.addresses(); len(a) > 0 {
		t.Errorf("the bond has %v before the daemon has a lease again", a)
	}
	if s := l.status(); s.State != bond.StateRepairing || !strings.Contains(s.Reason, "DHCP daemon") {
		t.Errorf("meanwhile: %s: %s", s.State, s.Reason)
	}
	l.wait("the address", func() bool { return slices.Equal(l.addresses(), []string{l.address}) })
	if n := strings.Count(l.daemon.String(), "lease acquired"); n != 2 {
		t.Errorf("the daemon acquired %d leases, want 2", n)
	}
	l.wait("the routes", func() bool {
		return strings.Contains(string(l.ip("-n", l.name, "route")), "203.0.113.0/24 via 198.51.100.2 dev bond0")
	})
	l.wait("a renewal", func() bool { return strings.Contains(l.daemon.String(), "lease renewed") })

	confirmed := strings.Count(log.String(), "lease confirmed")
	l.ip("-n", l.name, "link", "del", "bond0")
	l.wait("the address", func() bool { return slices.Equal(l.addresses(), []string{l.address}) })
	l.ip("-n", l.name, "link", "set", "bond0", "down")
	l.wait("the confirmations", func() bool { return strings.Count(log.String(), "lease confirmed") == confirmed+2 })
	l.wait("the address", func() bool { return l.links()["bond0"].up() && slices.Equal(l.addresses(), []string{l.address}) })
	if out := l.daemon.String(); strings.Contains(out, "releasing lease") || strings.Count(out, "lease acquired") != 2 {
		t.Errorf("a lease that the daemon maintains was released or acquired again")
	}
	l.wait("a ready bond", func() bool { return l.status().State == bond.StateReady })
	l.del(l.conf, "bond0")
}

// TestLeaseIsLost: while no server responds, and if it leases another address, the bond has no address, and the reason
// is reported.
func TestLeaseIsLost(t *testing.T) {
	l := newLeased(t, serve(t))
	l.server.stop()
	l.loseLease()
	l.agent()
	l.wait("the loss", func() bool { return l.status().State == bond.StateStuck })
	if a := l.addresses(); len(a) > 0 {
		t.Errorf("the bond has %v without a lease", a)
	}
	if s := l.status(); !strings.Contains(s.Reason, "no more tries") {
		t.Errorf("reason: %s", s.Reason)
	}
	l.server.dnsmasq("198.51.100.70,198.51.100.79,255.255.255.0,2m", shortly...)
	l.wait("another address", func() bool {
		return strings.Contains(l.status().Reason, "the address of a pod cannot change: delete the pod")
	})
	if a := l.addresses(); len(a) > 0 {
		t.Errorf("the bond has %v", a)
	}
	l.server.stop()
	l.server.dnsmasq(l.address+","+l.address+",255.255.255.0,2m", shortly...) // it selects by MAC, and another member may be active
	l.wait("the address", func() bool { return slices.Equal(l.addresses(), []string{l.address}) })
	l.wait("a ready bond", func() bool { return l.status().State == bond.StateReady })
	l.del(l.conf, "bond0")
}

// TestBondIsDownWithItsAddress: the daemon sets the bond down when a lease has expired. The agent does not set it up
// with an address whose lease is not maintained.
func TestBondIsDownWithItsAddress(t *testing.T) {
	l := newLeased(t, serve(t))
	l.server.stop()
	l.ip("-n", l.name, "link", "set", "bond0", "down") // before 6.2 the kernel renames no link that is up
	l.ip("-n", l.name, "link", "set", "bond0", "name", "away0")
	l.ip("-n", l.name, "link", "set", "away0", "up")
	l.wait("the daemon to give the lease up", func() bool { return strings.Contains(l.daemon.String(), "terminating lease maintenance") })
	l.ip("-n", l.name, "link", "set", "away0", "down")
	l.agent()
	l.wait("the bond", func() bool {
		b := l.links()["bond0"]
		if b != nil && b.up() && len(l.addresses()) > 0 {
			t.Fatalf("the bond is up with %v, whose lease is not maintained", l.addresses())
		}
		return b != nil && b.up()
	})
	l.server.dnsmasq(l.address+","+l.address+",255.255.255.0,2m", shortly...)
	l.wait("the address", func() bool { return slices.Equal(l.addresses(), []string{l.address}) })
	l.del(l.conf, "bond0")
}
