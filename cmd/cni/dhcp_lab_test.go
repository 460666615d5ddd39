//go:build lab

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// server is a DHCP server in its own netns, on another VF on the network of the pod's members.
type server struct {
	*pod
	leases string // its file of leases
	log    *kit.Output
	wire   *kit.Output // what tcpdump saw
	stop   func()      // ends dnsmasq
}

// start runs a program until the test's end, or stop.
func start(t *testing.T, name string, args ...string) (*exec.Cmd, *kit.Output) {
	t.Helper()
	log := &kit.Output{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	kit.Must(t, cmd.Start())
	t.Cleanup(func() { stop(cmd) })
	return cmd, log
}

func stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// serve starts dnsmasq behind the second VF of the first card.
func serve(t *testing.T) *server {
	t.Helper()
	s := &server{pod: newPod(t), leases: filepath.Join(t.TempDir(), "leases")}
	name, err := topology.Netdev(s.cards[0].VFs[1].PCI)
	kit.Must(t, err)
	s.ip("link", "set", name, "netns", s.name, "name", "srv")
	s.ip("-n", s.name, "addr", "add", "198.51.100.1/24", "dev", "srv")
	s.ip("-n", s.name, "link", "set", "srv", "up")
	s.ip("-n", s.name, "link", "set", "lo", "up")
	s.wait("the server's carrier", func() bool { return s.links()["srv"].OperState == "UP" })
	_, s.wire = start(t, "ip", "netns", "exec", s.name, "tcpdump", "-l", "-n", "-v", "-i", "srv", "udp", "port", "67")
	s.wait("tcpdump", func() bool { return strings.Contains(s.wire.String(), "listening on") })
	s.dnsmasq("198.51.100.50,198.51.100.59,255.255.255.0,10m")
	return s
}

// dnsmasq starts the server with a range of addresses and further options.
func (s *server) dnsmasq(addresses string, options ...string) {
	s.t.Helper()
	var cmd *exec.Cmd
	cmd, s.log = start(s.t, "ip", append([]string{"netns", "exec", s.name, "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null",
		"--user=root", "--port=0", "--no-ping", "--interface=srv", "--bind-interfaces", "--pid-file=", "--dhcp-leasefile=" + s.leases,
		"--dhcp-range=" + addresses, "--dhcp-option=option:router,198.51.100.1",
		"--dhcp-option=option:classless-static-route,203.0.113.0/24,198.51.100.2", "--dhcp-option=option:dns-server,198.51.100.3"}, options...)...)
	s.stop = func() { stop(cmd) }
	s.wait("the server", func() bool { return strings.Contains(s.log.String(), "DHCP, IP range") })
}

// leased are the addresses that the server has leased.
func (s *server) leased() []string {
	s.t.Helper()
	data, err := os.ReadFile(s.leases)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 2 {
			out = append(out, f[2])
		}
	}
	return out
}

// daemon starts the dhcp plugin's daemon.
func daemon(t *testing.T, p *pod, socket string, flags ...string) *kit.Output {
	t.Helper()
	_, log := start(t, filepath.Join(binDir, "dhcp"), append([]string{"daemon", "-socketpath", socket}, flags...)...)
	p.wait("the daemon's socket", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return log
}

func (p *pod) dhcpConfig(socket string, request ...string) *libcni.PluginConfig {
	p.t.Helper()
	options := `{"option":"121"}`
	for _, o := range request {
		options += fmt.Sprintf(`,{"option":%q}`, o)
	}
	return p.conf([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lab","type":"bond","mode":1,"failOverMac":1,"stateDir":%q,"linksInContainer":true,
		"links":[{"name":"net1"},{"name":"net2"}],"ipam":{"type":"dhcp","daemonSocketPath":%q,"request":[%s]}}`, p.state, socket, options)))
}

// TestDHCP: with the dhcp plugin, its daemon and a DHCP server a bond gets its address by ADD, passes CHECK, and
// releases the lease on DEL.
func TestDHCP(t *testing.T) {
	s := serve(t)
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	socket := filepath.Join(t.TempDir(), "dhcp.sock")
	log := daemon(t, p, socket)
	conf := p.dhcpConfig(socket)
	defer func() {
		if t.Failed() {
			t.Logf("server:\n%s\nwire:\n%s\ndaemon:\n%s", s.log, s.wire, log)
		}
	}()
	result := p.add(conf, "bond0")
	leased := s.leased()
	if len(leased) != 1 || !strings.HasPrefix(leased[0], "198.51.100.5") {
		t.Fatalf("the server has leased %v", leased)
	}
	if len(result.IPs) != 1 || result.IPs[0].Address.String() != leased[0]+"/24" || result.IPs[0].Gateway.String() != "198.51.100.1" || *result.IPs[0].Interface != 0 {
		t.Errorf("result's addresses: %v", result.IPs)
	}
	if a := p.links()["bond0"].AddrInfo; len(a) == 0 || a[0].Local != leased[0] || a[0].PrefixLen != 24 {
		t.Errorf("the bond has %v", a)
	}
	if routes := string(p.ip("-n", p.name, "route")); !strings.Contains(routes, "203.0.113.0/24 via 198.51.100.2 dev bond0") {
		t.Errorf("routes:\n%s", routes)
	}
	if out, err := exec.Command("ip", "netns", "exec", p.name, "ping", "-c", "3", "-i", "0.2", "-W", "5", "198.51.100.1").CombinedOutput(); err != nil {
		t.Errorf("ping the server: %v: %s", err, out)
	}
	if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	p.del(conf, "bond0")
	// The daemon sends it from 0.0.0.0. A server with a packet socket (ISC's) receives that, but dnsmasq's UDP socket
	// does not. So the packet capture is checked.
	s.wait("the release", func() bool {
		_, release, found := strings.Cut(s.wire.String(), "Client-IP "+leased[0])
		return found && strings.Contains(release, "Release")
	})
	p.likeBefore(before)
	p.del(conf, "bond0")
}

// TestDHCPFails: without a server, and without the daemon, ADD reports what failed. Without the daemon it is unknown
// whether there is a lease, so the tombstone stays until the daemon runs.
func TestDHCPFails(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	quick := []string{"-timeout", "1s", "-resendmax", "1s", "-resendtimeout", "3s"}
	fails := func(conf *libcni.PluginConfig, text string) {
		t.Helper()
		_, err := p.cni.AddNetwork(t.Context(), conf, p.runtime("bond0"))
		if err == nil || !strings.Contains(err.Error(), "IPAM dhcp ADD") || !strings.Contains(err.Error(), text) {
			t.Errorf("ADD: %v; want it to say %q", err, text)
		}
		if p.links()["bond0"] != nil {
			t.Error("a bond is left")
		}
	}
	socket := filepath.Join(t.TempDir(), "dhcp.sock")
	conf := p.dhcpConfig(socket)
	fails(conf, "error dialing DHCP daemon")
	if err := p.cni.DelNetwork(t.Context(), conf, p.runtime("bond0")); err == nil {
		t.Error("DEL without the daemon: the lease may be out, and it succeeds")
	}
	daemon(t, p, socket, quick...)
	p.del(conf, "bond0")
	p.likeBefore(before)
	fails(conf, "no more tries")
	p.likeBefore(before)
}
