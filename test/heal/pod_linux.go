package heal

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

// BondName is the bond's name in the pods, from the OKD page.
const BondName = "bond0"

// okdConfig is the config of the OKD page, identical to the plugin's own test data.
//
//go:embed testdata/okd.json
var okdConfig []byte

// member is one VF of a pod.
type member struct {
	name   string // in the pod
	card   int    // index in Fixture.cards
	number int    // of the VF
	pci    string
}

// Pod is a netns with two VFs and a bond, attached as Multus does it.
type Pod struct {
	// Name is the name of netns and pod.
	Name    string
	fixture *Fixture
	// members are net1 and net2.
	members []member
	id, uid string
	// address (without prefix length) and mac are the results of the bond's ADD.
	address, mac string
	baseline     snapshot
	// added is the place in the agent's log at which the pod was added; setUp is true once an agent has found its
	// set-up complete.
	added int
	setUp bool
	// chain is the bond's network as a plugin list; empty for the OKD page's bond alone.
	chain []byte
	// sriov attaches the VFs; nil for host-device.
	sriov *sriovstub.Plugin
}

func newPod(r *Fixture, name string, number int) *Pod {
	p := &Pod{Name: name, fixture: r, id: fmt.Sprintf("%x", sha256.Sum256([]byte(name))), uid: "9d7f1a60-0000-4000-8000-00000000000" + fmt.Sprint(number)}
	for i := range 2 {
		p.members = append(p.members, member{
			name: fmt.Sprintf("net%d", i+1), card: i, number: number, pci: r.cards[i].VFs[number].PCI,
		})
	}
	return p
}

func (p *Pod) netns() string { return "/run/netns/" + p.Name }

// is reports whether a log line is about this pod.
func (p *Pod) is(l Line) bool { return l.Pod == "demo/"+p.Name }

// add makes the netns, attaches the VFs and adds the bond.
func (p *Pod) add(ctx context.Context) error {
	place := p.fixture.log.len()
	if err := ip(ctx, "netns add %s", p.Name); err != nil {
		return err
	}
	if err := ip(ctx, "-n %s link set lo up", p.Name); err != nil {
		return err
	}
	for _, m := range p.members {
		if err := p.attach(ctx, m); err != nil {
			return err
		}
	}
	result, err := p.addBond(ctx)
	if err != nil {
		return err
	}
	if len(result.IPs) != 1 || len(result.Interfaces) != 1 {
		return fmt.Errorf("pod %s: ADD of the bond returned %v, want one interface and one address", p.Name, result)
	}
	p.added, p.setUp = place, false
	p.address, p.mac = result.IPs[0].Address.IP.String(), result.Interfaces[0].Mac
	return nil
}

// attach moves a VF into the pod.
func (p *Pod) attach(ctx context.Context, m member) error {
	if p.sriov != nil {
		return p.sriov.Add(p.sriovArgs(m), p.sriovConfig(m))
	}
	if _, err := p.cniAdd(ctx, hostDevice(m), m.name); err != nil {
		return err
	}
	return p.tuneVF(ctx, m)
}

// tuneVF sets what sriov-cni (arp_notify, ndisc_notify) and a chained tuning plugin set on a VF. A VF that its driver
// recreated has lost it.
func (p *Pod) tuneVF(ctx context.Context, m member) error {
	ns, err := netns.Open(p.netns())
	if err != nil {
		return err
	}
	err = ns.Do(func() error {
		var errs []error
		for _, name := range []string{"ipv4/conf/" + m.name + "/arp_notify", "ipv6/conf/" + m.name + "/ndisc_notify", "ipv4/neigh/" + m.name + "/ucast_solicit"} {
			errs = append(errs, os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0))
		}
		return errors.Join(errs...)
	})
	return errors.Join(err, ns.Close(), ip(ctx, "-n %s link set %s txqueuelen %d", p.Name, m.name, 700+m.number))
}

func (p *Pod) addBond(ctx context.Context) (*current.Result, error) {
	if p.chain == nil {
		return p.cniAdd(ctx, okdConfig, BondName)
	}
	list, err := libcni.NetworkConfFromBytes(p.chain)
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", p.Name, err)
	}
	output, err := p.fixture.cni.AddNetworkList(ctx, list, p.runtimeConf(BondName))
	if err != nil {
		return nil, fmt.Errorf("pod %s: ADD of the chain: %w", p.Name, err)
	}
	return current.NewResultFromResult(output)
}

func (p *Pod) delBond(ctx context.Context) error {
	if p.chain == nil {
		return p.cniDel(ctx, okdConfig, BondName)
	}
	list, err := libcni.NetworkConfFromBytes(p.chain)
	if err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	return p.fixture.cni.DelNetworkList(ctx, list, p.runtimeConf(BondName))
}

// prepareVFs sets the settings of the pod's VFs, which are in the host, on their PFs.
func (p *Pod) prepareVFs(ctx context.Context) error {
	for _, m := range p.members {
		if err := p.fixture.cards[m.card].set(ctx, m.number, p.settings(m)); err != nil {
			return err
		}
	}
	return nil
}

// settings are a VF's settings on its PF. All pods share a VLAN, so that they can ping each other only while every VF
// has it; the rest differs between VFs, and from the defaults.
func (p *Pod) settings(m member) vfSettings {
	s := vfSettings{mac: fmt.Sprintf("02:00:00:00:%02x:%02x", m.number+1, m.card+1), vlan: 7, qos: 3, trust: "on", spoofchk: "off"}
	if m.card == 1 {
		s.trust = "off"
	}
	if m.number == 1 {
		s.spoofchk = "on"
	}
	return s
}

// hostDevice is a config that moves one VF into a pod.
func hostDevice(m member) []byte {
	return fmt.Appendf(nil, `{"cniVersion": "0.3.1", "name": "sriov-%s", "type": "host-device", "pciBusID": %q}`, m.name, m.pci)
}

// del deletes the pod as Multus does: the bond first, then the VFs, then the netns.
func (p *Pod) del(ctx context.Context) error {
	errs := []error{p.delBond(ctx)}
	for _, m := range p.members {
		if p.sriov != nil {
			errs = append(errs, p.sriov.Del(p.sriovArgs(m)))
			continue
		}
		errs = append(errs, p.cniDel(ctx, hostDevice(m), m.name))
	}
	return errors.Join(errs...)
}

func (p *Pod) runtimeConf(ifName string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.id, NetNS: p.netns(), IfName: ifName,
		Args: [][2]string{
			{"IgnoreUnknown", "true"}, {"K8S_POD_NAMESPACE", "demo"}, {"K8S_POD_NAME", p.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", p.id}, {"K8S_POD_UID", p.uid},
		},
	}
}

func (p *Pod) cniAdd(ctx context.Context, config []byte, ifName string) (*current.Result, error) {
	conf, err := libcni.NetworkPluginConfFromBytes(config)
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", p.Name, err)
	}
	output, err := p.fixture.cni.AddNetwork(ctx, conf, p.runtimeConf(ifName))
	if err != nil {
		return nil, fmt.Errorf("pod %s: ADD of %s by %s: %w", p.Name, ifName, conf.Network.Type, err)
	}
	result, err := current.NewResultFromResult(output)
	if err != nil {
		return nil, fmt.Errorf("pod %s: result of %s: %w", p.Name, ifName, err)
	}
	return result, nil
}

func (p *Pod) cniDel(ctx context.Context, config []byte, ifName string) error {
	conf, err := libcni.NetworkPluginConfFromBytes(config)
	if err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	if err := p.fixture.cni.DelNetwork(ctx, conf, p.runtimeConf(ifName)); err != nil {
		return fmt.Errorf("pod %s: DEL of %s by %s: %w", p.Name, ifName, conf.Network.Type, err)
	}
	return nil
}
