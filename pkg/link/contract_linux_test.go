package link_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestContractOnVeth runs the suite on this machine's kernel, in its own netns.
func TestContractOnVeth(t *testing.T) {
	linktest.RunContract(t, linktest.Env{
		Bonding: hasBonding(t), Reason: "this machine's kernel has veth only; the lab has the rest", Release: kit.KernelRelease(), Open: openVeth,
	})
}

// hasBonding tries to make a bond, which also loads the driver if there is one.
func hasBonding(t *testing.T) bool {
	h := openVeth(t).(*realHarness)
	err := h.AddBond(linktest.Host, "bktry")
	return err == nil
}

// openVeth makes a netns as host, so that the machine's own is not changed.
func openVeth(t *testing.T) linktest.Harness {
	h := &realHarness{t: t, sriov: t.TempDir(), peers: map[string]string{}}
	h.Host = h.AddPod(fmt.Sprintf("/run/netns/bkhost-%d-%d", os.Getpid(), hosts.next())).Path
	k, err := link.New(link.Options{HostNetns: h.Host, SysfsPCI: t.TempDir(), SriovDir: h.sriov, ClaimDir: filepath.Join(h.sriov, "pci")})
	kit.Must(t, err)
	h.Kernel = k
	return h
}

type counter int

func (c *counter) next() int { *c++; return int(*c) }

var hosts, veths counter
