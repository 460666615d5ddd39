//go:build lab

package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/crash"
)

func TestMain(m *testing.M) {
	if code, ran := crash.Main(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// A verb is killed before one of these changes; a verb that makes fewer is not killed.
const (
	maxAddChanges = 45
	maxDelChanges = 35
)

// linkTracer makes the directory with the link that runs the plugin under a tracer.
func (n *soakNode) linkTracer(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n.traced, n.report = dir, filepath.Join(dir, "report.json")
	return os.Symlink(self, filepath.Join(dir, "bond"))
}

// killed calls a verb of the plugin and kills it before a change. It returns that change; empty if the verb made fewer.
func (n *soakNode) killed(p *soakPod, b *soakBond, change int, verb func(*libcni.CNIConfig, *libcni.NetworkConfig, *libcni.RuntimeConf) error) (string, error) {
	bin, err := filepath.Abs(n.bin)
	if err != nil {
		return "", err
	}
	fault, err := json.Marshal(crash.Fault{How: crash.Kill, At: change})
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{crash.BinEnv: bin, crash.FaultEnv: string(fault), crash.ReportEnv: n.report} {
		if err = os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	conf, err := libcni.NetworkPluginConfFromBytes(b.config)
	if err != nil {
		return "", err
	}
	if err = os.Remove(n.report); err != nil && !errors.Is(err, os.ErrNotExist) { // that of an earlier call
		return "", err
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{n.traced, filepath.Join(n.bin, "cni")}, "/run/soak-cni-cache", nil)
	failed := verb(cni, conf, p.runtimeConf(b.name))
	report, err := crash.ReadReport(n.report)
	if err != nil {
		return "", errors.Join(err, failed)
	}
	if report.Hit == 0 {
		return "", failed
	}
	n.count.kills++
	n.sweep = true
	return report.Points[change-1].What, nil
}

// stepAddKilled adds a pod and kills the ADD of its last bond. The runtime then deletes the pod.
func (n *soakNode) stepAddKilled(ctx context.Context, args []int) (string, error) {
	if n.pods[args[0]] != nil {
		return "", nil
	}
	p := n.newSoakPod(args[0], args[1])
	if p == nil {
		return "", nil
	}
	n.pods[args[0]], p.state = p, podBroken
	if err := n.attachAll(ctx, p); err != nil {
		return "", err
	}
	last := len(p.bonds) - 1
	for _, b := range p.bonds[:last] {
		if err := n.addBond(ctx, p, b); err != nil {
			return "", err
		}
	}
	before, err := n.killed(p, p.bonds[last], args[2]+1, func(cni *libcni.CNIConfig, c *libcni.NetworkConfig, rt *libcni.RuntimeConf) error {
		_, err := cni.AddNetwork(ctx, c, rt)
		return err
	})
	return fmt.Sprintf("ADD of %s is killed before: %s", p.bonds[last].key, before), err
}

// stepDelKilled kills the DEL of a bond. The runtime then calls it again.
func (n *soakNode) stepDelKilled(ctx context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil {
		return "", nil
	}
	p.state = podBroken
	before, err := n.killed(p, b, args[2]+1, func(cni *libcni.CNIConfig, c *libcni.NetworkConfig, rt *libcni.RuntimeConf) error {
		return cni.DelNetwork(ctx, c, rt)
	})
	return fmt.Sprintf("DEL of %s is killed before: %s", b.key, before), err
}
