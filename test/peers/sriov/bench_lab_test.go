//go:build lab

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/peers"
)

const (
	container = "c0ffee"
	files     = "/var/lib/cni/sriov"
)

// bench is one VF and one sandbox.
type bench struct {
	program string
	card    topology.Card
	vf      topology.Function
	sandbox string
	// extra is more of the config, beginning with a comma.
	extra string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	set, err := peers.Find("../../..")
	kit.Must(t, err)
	guest, err := topology.Load()
	kit.Must(t, err)
	kit.Must(t, os.RemoveAll("/var/lib/cni"))
	b := &bench{program: filepath.Join(set.Dir, "sriov"), card: guest.Cards[0], sandbox: "/run/netns/sriov-pod"}
	b.vf = b.card.VFs[0]
	b.sh(t, "ip netns add sriov-pod")
	t.Cleanup(func() { // the VF goes back with the netns, under whatever name it has there
		b.sh(t, "ip netns del sriov-pod 2>/dev/null || true")
		for b.name() == "" {
			b.sh(t, "sleep 0.1")
		}
		b.sh(t, "ip link set %[1]s down; ip link set %[1]s name %[2]s; ip link set %[3]s vf 0 vlan 0 mac 00:00:00:00:00:00 spoofchk on trust off",
			b.name(), b.vf.Name, b.card.PF.Name)
	})
	return b
}

// name is what the VF is called in the host; empty while it is not there.
func (b *bench) name() string {
	name, err := topology.Netdev(b.vf.PCI)
	if err != nil {
		return ""
	}
	return name
}

// run runs a verb and returns the result or the error's text.
func (b *bench) run(t *testing.T, verb string) (result, failed string) {
	t.Helper()
	return kit.CallCNI(t, b.program, `{"cniVersion": "1.0.0", "name": "vf", "type": "sriov", "deviceID": "`+b.vf.PCI+`"`+b.extra+`}`,
		"CNI_COMMAND="+verb, "CNI_CONTAINERID="+container, "CNI_NETNS="+b.sandbox, "CNI_IFNAME=net1", "CNI_PATH=/none")
}

func (b *bench) must(t *testing.T, verb string) string {
	t.Helper()
	result, failed := b.run(t, verb)
	if failed != "" {
		t.Fatalf("%s: %s", verb, failed)
	}
	return result
}

// mustFail runs a verb that has to fail with an error that says something.
func (b *bench) mustFail(t *testing.T, verb, text string) {
	t.Helper()
	if _, failed := b.run(t, verb); !strings.Contains(failed, text) || failed == "" {
		t.Fatalf("%s: %q, want an error with %q", verb, failed, text)
	}
}

// sh runs a script and returns its output; %[n]s are arguments.
func (b *bench) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	for i, a := range args {
		script = strings.ReplaceAll(script, "%["+string(rune('1'+i))+"]s", a)
	}
	out, err := exec.Command("bash", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// inPod runs a script in the sandbox's netns.
func (b *bench) inPod(t *testing.T, script string) string {
	t.Helper()
	return b.sh(t, "ip netns exec sriov-pod bash -ec '%[1]s'", script)
}

// onPF is what the PF keeps for the VF, as ip shows it.
func (b *bench) onPF(t *testing.T) string {
	t.Helper()
	return b.sh(t, "ip link show %[1]s | grep 'vf 0 '", b.card.PF.Name)
}

// expectFiles compares which of its files there are.
func (b *bench) expectFiles(t *testing.T, cache, claim bool) {
	t.Helper()
	for path, want := range map[string]bool{b.cache(): cache, b.claim(): claim} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

func (b *bench) cache() string { return filepath.Join(files, container+"-net1") }
func (b *bench) claim() string { return filepath.Join(files, "pci", b.vf.PCI) }
func (b *bench) lock() string  { return filepath.Join(files, "pci/vf_lock", b.vf.PCI+".lock") }

// holdLock takes the VF's lock until the returned function is called.
func (b *bench) holdLock(t *testing.T) (release func()) {
	t.Helper()
	fd, err := unix.Open(b.lock(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX)
	}
	kit.Must(t, err)
	return func() { _ = unix.Close(fd) }
}
