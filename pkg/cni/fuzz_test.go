package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// FuzzParseConfig: any input is an error with a CNI code, or a usable config.
func FuzzParseConfig(f *testing.F) {
	f.Add(cnitest.OKD(f), "K8S_POD_NAMESPACE=demo;K8S_POD_NAME=bondpod1")
	f.Add([]byte(strings.Repeat("[", 5000)), strings.Repeat("\u202e", 200))
	f.Add(with(`"mode":"\x7f`+strings.Repeat("\u202e", 200)+`"`), "MAC="+strings.Repeat("\u202e", 2000))
	f.Add(with(`"`+strings.Repeat("\\u202e", 2000)+`":1,"links":"`+strings.Repeat("\\u202e", 2000)+`"`), "")
	f.Add(with(`"links":"`+strings.Repeat("\u202e\x7f", 200)+`"`), "\u202e\x7f")
	f.Add(with(`"runtimeConfig":{"mac":"02:00:00:00:00:01"},"args":{"cni":{"ips":["10.0.0.1"]}}`), "MAC=02:00:00:00:00:01")
	f.Add(with(`"links":[{"name":"a","queueId":3,"prio":7},{"name":"b"}],"linkTimeout":5,"startDegraded":true,"allowSingleLink":"true"`), "")
	f.Add(with(`"arpIpTargets":["10.0.0.1"],"primary":"net1","prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}`), "")
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.1", "1.1.0"} {
		f.Add(with(`"prevResult":{"cniVersion":"`+v+`","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"0.0.0.0/0"}]},"ips":[{"address":"10.0.0.2/24","version":"4"}],"routes":[{"dst":"::/0"}]}`), "")
	}
	f.Fuzz(func(t *testing.T, stdin []byte, cniArgs string) {
		a, err := ParseArgs(cniArgs)
		if err != nil {
			cnitest.WantError(t, err, types.ErrInvalidEnvironmentVariables)
			bondtest.ErrorText(t, err)
			a = Args{}
		}
		c, err := ParseConfig(stdin, a)
		if err != nil {
			var e *types.Error
			if !errors.As(err, &e) {
				t.Fatalf("error without code: %v", err)
			}
			bondtest.ErrorText(t, e)
			return
		}
		if len(c.Links) < 1 || c.Options.Validate() != nil || c.Options[bond.OptMode] == "" {
			t.Fatalf("accepted %+v", c)
		}
		for _, l := range c.Links {
			if bond.ValidateIfName(l.Name) != nil || l.QueueID != nil && *l.QueueID > maxQueueID || l.Prio != nil && !c.Options.Mode().UsesPrimary() || l.ActorPortPrio != nil && c.Options.Mode() != bond.Mode8023AD {
				t.Fatalf("accepted link %+v", l)
			}
		}
		if _, err := ParseBaseConfig(stdin); err != nil {
			t.Fatalf("DEL would reject what ADD accepts: %v", err)
		}
	})
}

// FuzzPrevResult: any result of the previous plugin is an error with a CNI code, or is contained in this plugin's
// result, in the runtime's version; and CHECK can compare it with a bond.
func FuzzPrevResult(f *testing.F) {
	f.Add("1.1.0", []byte(`{"cniVersion":"1.1.0","interfaces":[null],"ips":[null],"routes":[null]}`))
	f.Add("1.1.0", []byte(`{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"interface":0,"address":"10.0.0.2/24"}]}`))
	rec := &bond.Record{Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, Sandbox: bond.Sandbox{Path: "/run/netns/p"}, Members: make([]bond.Member, 2)}
	obs := &bond.Observed{Bond: &bond.ObservedBond{Link: bond.Link{MAC: "02:00:00:00:00:01", MTU: 1500}}}
	f.Fuzz(func(t *testing.T, version string, prev []byte) {
		stdin, err := json.Marshal(map[string]json.RawMessage{"prevResult": prev})
		if err != nil {
			return // it is not JSON, which would be rejected earlier
		}
		o, err := parseConfigObject(stdin)
		kit.Must(t, err)
		result, err := o.prevResult(version)
		if err != nil {
			cnitest.WantError(t, err, types.ErrDecodingFailure, "prevResult")
			bondtest.ErrorText(t, err)
			return
		}
		if result == nil {
			return
		}
		before := len(result.Interfaces)
		c := &Config{BaseConfig: BaseConfig{Version: version}, Prev: result}
		all := resultOf(rec, obs, c, &current.Result{})
		if len(all.Interfaces) != before+1 || len(result.Interfaces) != before {
			t.Fatalf("%d interfaces passed on as %d", before, len(all.Interfaces))
		}
		_ = checkPrev(all, &reconcile.Outcome{Record: rec, Observed: *obs}, rec.Sandbox.Path)
		var out bytes.Buffer
		if err := (&session{stdout: &out}).print(all, c); err != nil {
			var e *types.Error
			if !errors.As(err, &e) {
				t.Fatalf("error without code: %v", err)
			}
		}
	})
}

// FuzzIPAMResult: any output of an IPAM plugin is an error with a CNI code, or results in addresses and routes that a
// record can have.
func FuzzIPAMResult(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0","mtu":1400,"table":7}],"dns":{"nameservers":["10.0.0.1"]}}`))
	f.Add([]byte(`{"cniVersion":"0.3.1","ips":[{"version":"6","address":"2001:db8::2/64"}],"routes":[{"dst":"::/0","gw":"fe80::1"}]}`))
	f.Add([]byte(`{"cniVersion":"1.0.0","ips":[null],"routes":[null]}`))
	f.Add([]byte(`{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}],"routes":[{"dst":"0.0.0.0/0","mtu":` + strings.Repeat("9", 18) + `}]}`))
	f.Fuzz(func(t *testing.T, printed []byte) {
		result, err := create.CreateFromBytes(printed)
		if err != nil {
			return // libcni rejects it
		}
		given, err := ipam.CurrentResult(result)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		coded := func(err error) bool {
			bondtest.ErrorText(t, err)
			var e *types.Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("error without code: %v", err)
			}
			return err != nil
		}
		addresses, err := addressesOf(given)
		if coded(err) {
			return
		}
		routes, err := routesOf(given, addresses)
		if coded(err) || coded(checkGateways(routes, addresses)) {
			return
		}
		for _, a := range addresses {
			if !a.Prefix.IsValid() || !a.Prefix.Addr().IsValid() {
				t.Errorf("address %v", a)
			}
		}
		for _, r := range routes {
			if !r.Dst.IsValid() || r.Dst != r.Dst.Masked() || r.Gateway.IsValid() && r.Gateway.IsUnspecified() {
				t.Errorf("route %v", r)
			}
		}
	})
}
