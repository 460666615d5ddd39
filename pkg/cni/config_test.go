package cni

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// asYAMLFolds is the text after YAML has folded a single-quoted scalar: each line break with its indentation becomes
// one space.
func asYAMLFolds(data []byte) []byte {
	lines := bytes.Split(data, []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimSpace(lines[i])
	}
	return bytes.Join(lines, []byte(" "))
}

func TestParseConfigOKD(t *testing.T) {
	for name, stdin := range map[string][]byte{"as printed": cnitest.OKD(t), "as YAML folds it": asYAMLFolds(cnitest.OKD(t))} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseConfig(stdin, Args{})
			kit.Must(t, err)
			want := &Config{
				BaseConfig:       BaseConfig{Version: "0.3.1", Network: "bond-net1", StateDir: store.DefaultDir, IPAM: "host-local"},
				LinksInContainer: true,
				Links:            []Link{{Name: "net1"}, {Name: "net2"}},
				Options:          bond.Options{bond.OptMode: "active-backup", bond.OptFailOverMac: "active", bond.OptMiimon: "100"},
				MTU:              1500, DAD: true, Enforce: bond.EnforceAll,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("config differs (-want +got):\n%s", diff)
			}
		})
	}
}

// base is a complete config; tests add to it or override it.
const base = `"cniVersion":"1.0.0","name":"n","type":"bond","mode":"active-backup","miimon":100,"links":[{"name":"net1"},{"name":"net2"}]`

// with is base with more fields. The last of two fields with the same name wins.
func with(fields string) []byte { return []byte("{" + base + "," + fields + "}") }

func TestParseConfigAccepts(t *testing.T) {
	opt := func(name bond.Option, value string) func(*Config) string {
		return func(c *Config) string {
			if got := c.Options[name]; got != value {
				return string(name) + "=" + got
			}
			return ""
		}
	}
	tests := []struct {
		name  string
		in    string
		check func(*Config) string
	}{
		{"mode by number", `"mode":4`, opt(bond.OptMode, "802.3ad")},
		{"mode by number as string", `"mode":"6"`, opt(bond.OptMode, "balance-alb")},
		{"miimon as string", `"miimon":"250"`, opt(bond.OptMiimon, "250")},
		{"miimon as number", `"miimon":250`, opt(bond.OptMiimon, "250")},
		{"miimon null is absent", `"miimon":null`, opt(bond.OptMiimon, "100")},
		{"ARP instead of MII", `"miimon":null,"arpInterval":500,"arpIpTargets":"10.0.0.1"`, opt(bond.OptMiimon, "")},
		{"failOverMac by number", `"failOverMac":2`, opt(bond.OptFailOverMac, "follow")},
		{"failOverMac by name", `"failOverMac":"active"`, opt(bond.OptFailOverMac, "active")},
		{"failOverMac number in quotes", `"failOverMac":"1"`, opt(bond.OptFailOverMac, "active")},
		{"failOverMac 0", `"failOverMac":0`, opt(bond.OptFailOverMac, "none")},
		{"letter case as encoding/json takes it", `"FailOverMAC":1`, opt(bond.OptFailOverMac, "active")},
		{"boolean as boolean", `"allSlavesActive":true`, opt(bond.OptAllSlavesActive, "on")},
		{"boolean as number", `"allSlavesActive":1`, opt(bond.OptAllSlavesActive, "on")},
		{"tlbDynamicLb", `"mode":"balance-tlb","tlbDynamicLb":0`, opt(bond.OptTlbDynamicLb, "off")},
		{"xmitHashPolicy", `"mode":"balance-xor","xmitHashPolicy":"layer3+4"`, opt(bond.OptXmitHashPolicy, "layer3+4")},
		{"targets as list", `"miimon":null,"arpInterval":100,"arpIpTargets":["10.0.0.2","10.0.0.1"]`, opt(bond.OptArpIPTargets, "10.0.0.1,10.0.0.2")},
		{"targets as string", `"miimon":null,"arpInterval":100,"arpIpTargets":"10.0.0.2, 10.0.0.1"`, opt(bond.OptArpIPTargets, "10.0.0.1,10.0.0.2")},
		{"IPv6 targets", `"miimon":null,"arpInterval":100,"nsIp6Targets":["fe80::2"]`, opt(bond.OptNsIP6Targets, "fe80::2")},
		{"primary", `"primary":"net2"`, opt(bond.OptPrimary, "net2")},
		{"link names with extra fields", `"links":[{"name":"a","x":1},{"name":"b"},{"name":"c"}]`, func(c *Config) string {
			return cmp.Diff([]string{"a", "b", "c"}, c.LinkNames())
		}},
		{"settings of links", `"links":[{"name":"a","queueId":16,"prio":-2147483648},{"name":"b","queueId":"0","prio":" 7"},{"name":"c","queueId":null}]`, func(c *Config) string {
			return cmp.Diff([]Link{
				{"a", bond.MemberOptions{QueueID: new(uint16(16)), Prio: new(int32(-1 << 31))}}, {"b", bond.MemberOptions{QueueID: new(uint16(0)), Prio: new(int32(7))}}, {Name: "c"},
			}, c.Links)
		}},
		{"LACP priorities of links", `"mode":"802.3ad","links":[{"name":"a","actorPortPrio":65535},{"name":"b","actorPortPrio":"0"}]`, func(c *Config) string {
			return cmp.Diff([]Link{{"a", bond.MemberOptions{ActorPortPrio: new(uint16(65535))}}, {"b", bond.MemberOptions{ActorPortPrio: new(uint16(0))}}}, c.Links)
		}},
		{"two links without a queue of their own", `"links":[{"name":"a","queueId":0},{"name":"b","queueId":0}]`, func(*Config) string { return "" }},
		{"prio in balance-tlb", `"mode":"balance-tlb","links":[{"name":"a","prio":1},{"name":"b"}]`, func(*Config) string { return "" }},
		{"one link where it is allowed", `"allowSingleLink":true,"links":[{"name":"a"}]`, func(c *Config) string { return cmp.Diff(1, len(c.Links)) }},
		{"ifname", `"ifname":"bond7"`, func(c *Config) string { return cmp.Diff("bond7", c.IgnoredIfName) }},
		{"ifname empty", `"ifname":""`, func(c *Config) string { return cmp.Diff("", c.IgnoredIfName) }},
		{"ifname null", `"ifname":null`, func(c *Config) string { return cmp.Diff("", c.IgnoredIfName) }},
		{"ifname that no link can have", `"ifname":"a/b and more than 15 bytes"`, func(c *Config) string { return cmp.Diff("a/b and more than 15 bytes", c.IgnoredIfName) }},
		{"ifname a number", `"ifname":7`, func(c *Config) string { return cmp.Diff("7", c.IgnoredIfName) }},
		{"startDegraded", `"startDegraded":true`, func(c *Config) string { return cmp.Diff(true, c.StartDegraded) }},
		{"linkTimeout", `"linkTimeout":5`, func(c *Config) string { return cmp.Diff(5*time.Second, c.LinkTimeout) }},
		{"linkTimeout in quotes", `"linkTimeout":"60"`, func(c *Config) string { return cmp.Diff(time.Minute, c.LinkTimeout) }},
		{"runtimeConfig.ips", `"runtimeConfig":{"ips":["10.0.0.7/24"]}`, func(c *Config) string { return cmp.Diff(true, c.IPs) }},
		{"args.cni.ips", `"args":{"cni":{"ips":["10.0.0.7/24","2001:db8::7"]}}`, func(c *Config) string { return cmp.Diff(true, c.IPs) }},
		{"no ips", `"args":{"cni":{"ips":[]}},"runtimeConfig":{"ips":null}`, func(c *Config) string { return cmp.Diff(false, c.IPs) }},
		{"linksInContainer defaults to false", `"x":1`, func(c *Config) string { return cmp.Diff(false, c.LinksInContainer) }},
		{"linksInContainer in quotes", `"linksInContainer":"true"`, func(c *Config) string { return cmp.Diff(true, c.LinksInContainer) }},
		{"mtu as string", `"mtu":"9000"`, func(c *Config) string { return cmp.Diff(9000, c.MTU) }},
		{"mtu 0", `"mtu":0`, func(c *Config) string { return cmp.Diff(0, c.MTU) }},
		{"no IPAM", `"ipam":{}`, func(c *Config) string { return cmp.Diff("", c.IPAM) }},
		{"stateDir", `"stateDir":"/tmp/x/../y"`, func(c *Config) string { return cmp.Diff("/tmp/y", c.StateDir) }},
		{"mac", `"mac":"02:00:00:00:00:AA"`, func(c *Config) string { return cmp.Diff(bond.MAC("02:00:00:00:00:aa"), c.MAC) }},
		{"args.cni.mac wins", `"mac":"02:00:00:00:00:aa","args":{"cni":{"mac":"02:00:00:00:00:bb"}}`, func(c *Config) string {
			return cmp.Diff(bond.MAC("02:00:00:00:00:bb"), c.MAC)
		}},
		{"runtimeConfig.mac wins over all", `"mac":"02:00:00:00:00:aa","args":{"cni":{"mac":"02:00:00:00:00:bb"}},"runtimeConfig":{"mac":"02:00:00:00:00:cc"}`, func(c *Config) string {
			return cmp.Diff(bond.MAC("02:00:00:00:00:cc"), c.MAC)
		}},
		{"dns", `"dns":{"nameservers":["10.0.0.1"]}`, func(c *Config) string {
			return cmp.Diff(types.DNS{Nameservers: []string{"10.0.0.1"}}, c.DNS)
		}},
		{"fields of others", `"deviceID":"0000:01:10.0","ifname":"bond0","capabilities":{"mac":true},"vlan":5,"spoofchk":"on"`, func(*Config) string { return "" }},
		{"prevResult", `"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}]}`, func(c *Config) string {
			return cmp.Diff("eth0", c.Prev.Interfaces[0].Name)
		}},
		{"prevResult without version", `"prevResult":{"ips":[{"address":"10.0.0.2/24"}]}`, func(c *Config) string {
			return cmp.Diff(1, len(c.Prev.IPs))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseConfig(with(tt.in), Args{})
			kit.Must(t, err)
			if diff := tt.check(c); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseConfigRejects(t *testing.T) {
	const config, decoding = types.ErrInvalidNetworkConfig, types.ErrDecodingFailure
	tests := []struct {
		name  string
		in    string
		code  uint
		texts []string // field, value found, values allowed
	}{
		{"unknown mode", `"mode":"bonkers"`, config, []string{"mode", "bonkers", "active-backup"}},
		{"mode out of range", `"mode":7`, config, []string{"mode", "7", "0 to 6"}},
		{"no mode", `"mode":null`, config, []string{"mode", "nothing", "active-backup"}},
		{"mode as object", `"mode":{}`, config, []string{"mode", "{}", "active-backup"}},
		{"empty mode", `"mode":""`, config, []string{"mode", "empty", "active-backup"}},
		{"miimon negative", `"miimon":-1`, config, []string{"miimon", "-1", "number from 0"}},
		{"miimon fraction", `"miimon":1.5`, config, []string{"miimon", "1.5"}},
		{"miimon text", `"miimon":"often"`, config, []string{"miimon", "often", "number from 0"}},
		{"failOverMac out of range", `"failOverMac":3`, config, []string{"failOverMac", "3", "0 to 2"}},
		{"failOverMac negative", `"failOverMac":-1`, config, []string{"failOverMac", "-1", "0 to 2"}},
		{"option of another mode", `"lacpRate":"fast"`, config, []string{"lacpRate", "active-backup", "802.3ad"}},
		{"ARP in 802.3ad", `"mode":"802.3ad","miimon":null,"arpInterval":100,"arpIpTargets":"10.0.0.1"`, config, []string{"802.3ad"}},
		{"primary in balance-rr", `"mode":0,"primary":"net1"`, config, []string{"primary", "balance-rr"}},
		{"primary that is no link", `"primary":"net3"`, config, []string{"primary", "net3", "net1, net2"}},
		{"target list with a number", `"arpIpTargets":[1]`, config, []string{"arpIpTargets", "[1]", "IPv4"}},
		{"target list with an empty entry", `"arpIpTargets":[""]`, config, []string{"arpIpTargets", "IPv4"}},
		{"no links", `"links":null`, config, []string{"links", "nothing", "two or more"}},
		{"one link", `"links":[{"name":"net1"}]`, config, []string{"links", "net1", "two or more"}},
		{"one link says how", `"links":[{"name":"net1"}]`, config, []string{"allowSingleLink"}},
		{"no link where one is allowed", `"allowSingleLink":true,"links":[]`, config, []string{"links", "[]", "one or more"}},
		{"null among links", `"links":[{"name":"net1"},null]`, config, []string{"links", "two or more"}},
		{"queueId too large", `"links":[{"name":"net1","queueId":17},{"name":"net2"}]`, config, []string{"links[0].queueId", "17", "0 to 16"}},
		{"queueId negative", `"links":[{"name":"net1"},{"name":"net2","queueId":-1}]`, config, []string{"links[1].queueId", "-1", "0 to 16"}},
		{"queueId text", `"links":[{"name":"net1"},{"name":"net2","queueId":"last"}]`, config, []string{"links[1].queueId", "last"}},
		{"queueId twice", `"links":[{"name":"net1","queueId":3},{"name":"net2","queueId":3}]`, config, []string{"links[1].queueId", "3", "net1"}},
		{"prio too large", `"links":[{"name":"net1"},{"name":"net2","prio":2147483648}]`, config, []string{"links[1].prio", "2147483648", "2147483647"}},
		{"actorPortPrio too large", `"mode":4,"links":[{"name":"net1"},{"name":"net2","actorPortPrio":65536}]`, config, []string{"links[1].actorPortPrio", "65536", "65535"}},
		{"actorPortPrio in active-backup", `"mode":1,"links":[{"name":"net1","actorPortPrio":9},{"name":"net2"}]`, config, []string{"links[0].actorPortPrio", "active-backup", "802.3ad"}},
		{"prio in balance-rr", `"mode":0,"links":[{"name":"net1"},{"name":"net2","prio":1}]`, config, []string{"links[1].prio", "balance-rr", "active-backup"}},
		{"allowSingleLink text", `"allowSingleLink":"maybe"`, config, []string{"allowSingleLink", "maybe", "true or false"}},
		{"startDegraded a number", `"startDegraded":1`, config, []string{"startDegraded", "1", "true or false"}},
		{"linkTimeout too long", `"linkTimeout":61`, config, []string{"linkTimeout", "61", "0 to 60"}},
		{"linkTimeout negative", `"linkTimeout":-1`, config, []string{"linkTimeout", "-1"}},
		{"linkTimeout with a unit", `"linkTimeout":"5s"`, config, []string{"linkTimeout", "5s", "seconds"}},
		{"ips as text", `"runtimeConfig":{"ips":"10.0.0.7"}`, config, []string{"runtimeConfig.ips", "10.0.0.7", "list"}},
		{"links as strings", `"links":["net1","net2"]`, config, []string{"links", "net1", "name"}},
		{"link without name", `"links":[{"name":"net1"},{}]`, config, []string{"links[1].name", "nothing"}},
		{"link name a number", `"links":[{"name":"net1"},{"name":2}]`, config, []string{"links[1].name", "2"}},
		{"link name too long", `"links":[{"name":"net1"},{"name":"sixteen-bytes-xx"}]`, config, []string{"links[1].name", "sixteen-bytes-xx", "15"}},
		{"link name with slash", `"links":[{"name":"net1"},{"name":"../x"}]`, config, []string{"links[1].name", "../x"}},
		{"same link twice", `"links":[{"name":"net1"},{"name":"net1"}]`, config, []string{"links[1].name", "net1", "once"}},
		{"mtu too small", `"mtu":67`, config, []string{"mtu", "67", "68 to 65535"}},
		{"mtu too large", `"mtu":65536`, config, []string{"mtu", "65536", "68 to 65535"}},
		{"mtu negative", `"mtu":-5`, config, []string{"mtu", "-5", "68 to 65535"}},
		{"mtu object", `"mtu":{}`, config, []string{"mtu", "{}"}},
		{"linksInContainer text", `"linksInContainer":"yes"`, config, []string{"linksInContainer", "yes", "true or false"}},
		{"relative stateDir", `"stateDir":"run/x"`, config, []string{"stateDir", "run/x", "absolute"}},
		{"ipam as text", `"ipam":"host-local"`, config, []string{"ipam", "host-local", "object"}},
		{"ipam is us", `"ipam":{"type":"bond"}`, config, []string{"ipam.type", "bond"}},
		{"ipam a path", `"ipam":{"type":"../../bin/sh"}`, config, []string{"ipam.type", "../../bin/sh"}},
		{"multicast mac", `"mac":"01:00:5e:00:00:01"`, config, []string{"mac", "01:00:5e:00:00:01", "unicast"}},
		{"bad runtime mac", `"runtimeConfig":{"mac":"nonsense"}`, config, []string{"runtimeConfig.mac", "nonsense", "unicast"}},
		{"bad args mac", `"args":{"cni":{"mac":7}}`, config, []string{"args.cni.mac", "7", "unicast"}},
		{"dns as list", `"dns":[]`, config, []string{"dns", "nameservers"}},
		{"null in prevResult", `"prevResult":{"cniVersion":"0.4.0","ips":[null]}`, decoding, []string{"prevResult", "ips[0]"}},
		{"prevResult of unknown version", `"prevResult":{"cniVersion":"7.0.0"}`, decoding, []string{"prevResult", "7.0.0"}},
		{"prevResult no object", `"prevResult":[]`, decoding, []string{"prevResult"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig(with(tt.in), Args{})
			cnitest.WantError(t, err, tt.code, tt.texts...)
		})
	}
}

func TestParseConfigBrokenJSON(t *testing.T) {
	for _, in := range []string{``, `{`, `[]`, `"x"`, `{"name":"n"`, `nul`} {
		_, err := ParseConfig([]byte(in), Args{})
		cnitest.WantError(t, err, types.ErrDecodingFailure, "network config")
	}
	_, err := ParseConfig([]byte(`{"type":"bond"}`), Args{})
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "name")
	_, err = ParseConfig([]byte(`{"name":"n","cniVersion":5}`), Args{})
	cnitest.WantError(t, err, types.ErrDecodingFailure, "cniVersion")
}

// TestParseConfigShowsBounded: a huge value does not become a huge message.
func TestParseConfigShowsBounded(t *testing.T) {
	_, err := ParseConfig(with(`"mode":"`+strings.Repeat("x", 1<<16)+`"`), Args{})
	if err == nil || len(err.Error()) > 400 {
		t.Errorf("message has %d bytes", len(err.Error()))
	}
}

func TestParseArgs(t *testing.T) {
	got, err := ParseArgs("IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=bondpod1;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2;MAC=02:00:00:00:00:01;FOO=a=b;")
	want := Args{Pod: bond.Pod{Namespace: "demo", Name: "bondpod1", UID: "1-2"}, MAC: "02:00:00:00:00:01"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, nothing := range []string{"", "MAC=", "MAC=;FOO=a"} {
		if got, err = ParseArgs(nothing); err != nil || got != (Args{}) {
			t.Errorf("%q: got %+v, %v", nothing, got, err)
		}
	}
	_, err = ParseArgs("K8S_POD_NAME")
	cnitest.WantError(t, err, types.ErrInvalidEnvironmentVariables, "CNI_ARGS", "K8S_POD_NAME", "KEY=VALUE")
	_, err = ParseArgs("MAC=zz")
	cnitest.WantError(t, err, types.ErrInvalidEnvironmentVariables, "MAC", "zz")
}

// TestArgsMAC: CNI_ARGS come from the pod, the network config from the network's author.
func TestArgsMAC(t *testing.T) {
	c, err := ParseConfig(with(`"mac":"02:00:00:00:00:aa"`), Args{MAC: "02:00:00:00:00:dd"})
	if err != nil || c.MAC != "02:00:00:00:00:dd" {
		t.Errorf("got %v, %v", c.MAC, err)
	}
}
