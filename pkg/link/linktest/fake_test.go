package linktest

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestFakeScenario makes a bond of two VFs, loses one and restores it, and compares the printed state.
func TestFakeScenario(t *testing.T) {
	f := New()
	kit.Must(t, f.AddPF("ens1", "0000:01:00.0"))
	kit.Must(t, f.SetNumVFs("ens1", 2))
	vfs := f.VFs("ens1")
	sandbox := f.AddPod("/run/netns/a")
	kit.Must(t, f.MoveToNetns(Host, "eth0", sandbox.Path, "net1"))
	kit.Must(t, f.MoveToNetns(Host, "eth1", sandbox.Path, "net2"))
	r := &bond.Record{
		Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Sandbox: sandbox,
		Members: []bond.Member{{Name: "net1", PCI: vfs[0]}, {Name: "net2", PCI: vfs[1]}},
	}
	do := func(a plan.Action) { t.Helper(); kit.Must(t, f.Apply(t.Context(), r, a)) }
	do(plan.CreateBond{Name: "bond0", Options: bond.Options{"mode": "active-backup", "miimon": "100", "failOverMac": "active"}})
	o, err := f.Observe(t.Context(), r)
	kit.Must(t, err)
	b := plan.LinkRefOf(bond.InPod, &o.Bond.Link)
	for i := range o.Members {
		do(plan.Enslave{Link: plan.LinkRefOf(bond.InPod, &o.Members[i].Link), Bond: b})
	}
	do(plan.SetUp{Link: b})
	kit.Must(t, f.UnbindVF(vfs[0]))
	kit.Must(t, f.BindVF(vfs[0]))
	const want = `host
  2: ens1 PF 0000:01:00.0 mac 9e:37:79:b9:7f:01 mtu 1500 up
  5: eth0 VF 0000:01:10.0 mac 3e:6e:f3:72:fe:02 mtu 1500 down
netns /run/netns/a
  2: bond0 bond mac da:a6:6d:2c:7d:03 mtu 1500 up
      mode=active-backup miimon=100 failOverMac=active
  4: net2 VF 0000:01:10.2 mac da:a6:6d:2c:7d:03 mtu 1500 up master bond0 active
PF ens1 0000:01:00.0 bound
  VF 0 0000:01:10.0: mac 3e:6e:f3:72:fe:02, vlan 0 qos 0, min_tx_rate 0 max_tx_rate 0, spoofchk true, trust false, state 0
  VF 1 0000:01:10.2: mac da:a6:6d:2c:7d:03, vlan 0 qos 0, min_tx_rate 0 max_tx_rate 0, spoofchk true, trust false, state 0
`
	if got := f.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
