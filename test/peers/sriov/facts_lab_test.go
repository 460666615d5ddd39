//go:build lab

package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The names of these tests begin with the number of the fact in docs/peers.md.

const requests = `, "vlan": 100, "mac": "02:00:00:00:10:01", "spoofchk": "off", "trust": "on"`

func TestS1S2FilesAndModes(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	want := map[string]string{
		"/var/lib/cni": "drw-------", files: "drw-------", files + "/pci": "drw-------", files + "/pci/vf_lock": "drw-------",
		b.lock(): "-rw-------", b.cache(): "-rw-------", b.claim(): "-rw-------",
	}
	for path, mode := range want {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().String(); got != mode {
			t.Errorf("%s has mode %s, want %s", path, got, mode)
		}
	}
	if data, err := os.ReadFile(b.claim()); err != nil || string(data) != b.sandbox {
		t.Errorf("claim %q, %v; want the netns' path and no newline", data, err)
	}
	b.must(t, "DEL")
	b.expectFiles(t, false, false)
	if _, err := os.Stat(b.lock()); err != nil {
		t.Errorf("the lock's file is gone: %v", err)
	}
}

// TestS1DirectoriesThere: what is there keeps its mode.
func TestS1DirectoriesThere(t *testing.T) {
	b := newBench(t)
	kit.Must(t, os.MkdirAll(files, 0o755))
	b.must(t, "ADD")
	for path, mode := range map[string]string{files: "drwxr-xr-x", files + "/pci": "drw-------"} {
		if info, err := os.Stat(path); err != nil || info.Mode().String() != mode {
			t.Errorf("%s: %v, %v; want %s", path, info.Mode(), err, mode)
		}
	}
	b.must(t, "DEL")
}

func TestS3Claimed(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	b.mustFail(t, "ADD", "already allocated")
	b.sh(t, "ip netns del sriov-pod; ip netns add sriov-pod-2")
	for b.name() == "" {
		b.sh(t, "sleep 0.1")
	}
	b.sandbox = "/run/netns/sriov-pod-2"
	b.must(t, "ADD") // the claim of a netns that is gone does not count
	b.must(t, "DEL")
	b.sh(t, "ip netns del sriov-pod-2")
}

func TestS4S6Add(t *testing.T) {
	b := newBench(t)
	b.extra = requests
	result := b.must(t, "ADD")
	if !strings.Contains(result, "02:00:00:00:10:01") || !strings.Contains(result, `"mtu": 1500`) {
		t.Errorf("result %s", result)
	}
	for _, want := range []string{"02:00:00:00:10:01", "vlan 100", "spoof checking off", "trust on"} {
		if pf := b.onPF(t); !strings.Contains(pf, want) {
			t.Errorf("the PF has %q, want %q", pf, want)
		}
	}
	if link := b.inPod(t, "ip link show net1"); !strings.Contains(link, ",UP") || !strings.Contains(link, "02:00:00:00:10:01") {
		t.Errorf("in the pod: %s", link)
	}
	sysctls := b.inPod(t, "cat /proc/sys/net/ipv4/conf/net1/arp_notify /proc/sys/net/ipv6/conf/net1/ndisc_notify /proc/sys/net/ipv6/conf/net1/optimistic_dad")
	if sysctls != "1\n1\n1" && sysctls != "1\n1\ncat: /proc/sys/net/ipv6/conf/net1/optimistic_dad: No such file or directory" {
		t.Errorf("arp_notify, ndisc_notify and optimistic_dad are %q", sysctls)
	}
	data, err := os.ReadFile(b.cache())
	kit.Must(t, err)
	var cached struct {
		MTU         int
		OrigVfState struct{ HostIFName, EffectiveMAC, AdminMAC string }
	}
	if err := json.Unmarshal(data, &cached); err != nil || cached.MTU != 1500 || cached.OrigVfState.HostIFName != b.vf.Name || cached.OrigVfState.AdminMAC == "" {
		t.Errorf("cache %s: %v", data, err)
	}
	b.must(t, "DEL")
}

func TestS5WaitsForTheLock(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	release := b.holdLock(t)
	done := make(chan string, 1)
	go func() {
		_, failed := b.run(t, "DEL")
		done <- failed
	}()
	select {
	case failed := <-done:
		t.Fatalf("DEL did not wait for the lock: %q", failed)
	case <-time.After(2 * time.Second):
	}
	b.expectFiles(t, true, true)
	release()
	if failed := <-done; failed != "" {
		t.Errorf("DEL: %s", failed)
	}
}

func TestS7Del(t *testing.T) {
	b := newBench(t)
	mac := b.sh(t, "cat /sys/class/net/%[1]s/address", b.name())
	before := b.onPF(t)
	b.extra = requests
	b.must(t, "ADD")
	b.must(t, "DEL")
	// The PF of this card notes the MAC that the VF's netdev was given last, here the first one.
	want := regexp.MustCompile(`link/ether \S+`).ReplaceAllString(before, "link/ether "+mac)
	if after := b.onPF(t); after != before && after != want {
		t.Errorf("the PF has\n%s\nwant\n%s", after, want)
	}
	link := b.sh(t, "ip link show %[1]s", b.vf.Name) // its name is back
	if strings.Contains(link, ",UP") || !strings.Contains(link, mac) {
		t.Errorf("in the host %s, want it down with MAC %s", link, mac)
	}
}

// TestS7DelLeavesOtherSettings: what was not requested is left as the pod had it.
func TestS7DelLeavesOtherSettings(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	b.sh(t, "ip link set %[1]s vf 0 vlan 7", b.card.PF.Name)
	b.must(t, "DEL")
	if pf := b.onPF(t); !strings.Contains(pf, "vlan 7") {
		t.Errorf("the PF has %q, want vlan 7", pf)
	}
}

func TestS8S9NotInThePod(t *testing.T) {
	b := newBench(t)
	b.extra = requests
	b.must(t, "ADD")
	b.inPod(t, "ip link set net1 down; ip link set net1 name other")
	b.mustFail(t, "DEL", "net1")
	if pf := b.onPF(t); strings.Contains(pf, "vlan") || !strings.Contains(pf, "trust off") {
		t.Errorf("the PF has %q, want it reset", pf)
	}
	b.inPod(t, "ip link show other")
	b.expectFiles(t, false, true)
	b.must(t, "DEL") // and nothing happens
	b.inPod(t, "ip link show other")
	b.expectFiles(t, false, true)
}

func TestS10NetnsGone(t *testing.T) {
	b := newBench(t)
	b.extra = requests
	b.must(t, "ADD")
	b.sh(t, "ip netns del sriov-pod")
	for b.name() == "" {
		b.sh(t, "sleep 0.1")
	}
	b.must(t, "DEL")
	if pf := b.onPF(t); strings.Contains(pf, "vlan") {
		t.Errorf("the PF has %q, want it reset", pf)
	}
	if name := b.name(); name != "net1" {
		t.Errorf("the VF is called %s in the host, want the pod's net1", name)
	}
	b.expectFiles(t, false, true)
}

func TestS11NoNetns(t *testing.T) {
	b := newBench(t)
	b.extra = requests
	b.must(t, "ADD")
	sandbox := b.sandbox
	b.sandbox = ""
	b.must(t, "DEL")
	b.sandbox = sandbox
	if pf := b.onPF(t); !strings.Contains(pf, "vlan 100") {
		t.Errorf("the PF has %q, want it as it was", pf)
	}
	b.expectFiles(t, false, true)
}

func TestS13VFGone(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	b.sh(t, "n=/sys/bus/pci/devices/%[1]s/sriov_numvfs; was=$(cat $n); echo 0 >$n; echo $was >/run/was", b.card.PF.PCI)
	b.mustFail(t, "DEL", "VF ID")
	b.sh(t, "echo $(cat /run/was) >/sys/bus/pci/devices/%[1]s/sriov_numvfs", b.card.PF.PCI)
	b.expectFiles(t, false, true)
}

func TestS14Check(t *testing.T) {
	b := newBench(t)
	b.must(t, "CHECK") // of what was never added
}

// TestS15AddFails: the card rejects the last setting, and those before it stay.
func TestS15AddFails(t *testing.T) {
	b := newBench(t)
	b.extra = requests + `, "link_state": "enable"`
	b.mustFail(t, "ADD", "link state")
	if pf := b.onPF(t); !strings.Contains(pf, "vlan 100") || !strings.Contains(pf, "trust on") {
		t.Errorf("the PF has %q, want what was set", pf)
	}
	b.expectFiles(t, false, false)
	if name := b.name(); name != b.vf.Name {
		t.Errorf("the VF is %s in the host, want %s", name, b.vf.Name)
	}
}

// TestS16NameTakenInThePod: the VF stays in the pod under a temporary name, and the link of the name that was asked for
// is moved to the host as if it were the VF.
func TestS16NameTakenInThePod(t *testing.T) {
	b := newBench(t)
	b.inPod(t, "ip link add net1 type dummy")
	b.mustFail(t, "ADD", "net1")
	b.expectFiles(t, false, false)
	if links := b.inPod(t, "ip -o link"); !strings.Contains(links, "temp_") || strings.Contains(links, "net1") {
		t.Errorf("in the pod: %s", links)
	}
	if kind := b.sh(t, "ip -d link show %[1]s", b.vf.Name); !strings.Contains(kind, "dummy") {
		t.Errorf("in the host under the VF's name: %s", kind)
	}
	b.sh(t, "ip link del %[1]s", b.vf.Name)
}
