//go:build kube

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
	"github.com/bondkeeper/bondkeeper/test/peers"
)

// recorder is a delegate's plugin. It writes each call to calls, and fails where a file says so. In a sandbox it makes
// an interface with an address and a default route, as far as no other default route is there.
const recorder = `#!/bin/sh
here=$(dirname "$0")
cat >/dev/null
saved=unsaved
[ -e "$here/cni/$CNI_CONTAINERID" ] && saved=saved
echo "$CNI_COMMAND $CNI_IFNAME $saved $CNI_ARGS" >>"$here/calls"
fail() { echo '{"cniVersion": "1.0.0", "code": 7, "msg": "'"$CNI_COMMAND of $CNI_IFNAME refused"'"}'; exit 1; }
[ -e "$here/fail-$CNI_COMMAND-$CNI_IFNAME" ] && fail
case $CNI_COMMAND in
ADD)
    n=$(grep -c ^ADD "$here/calls")
    nsenter --net="$CNI_NETNS" sh -c "
        ip link add $CNI_IFNAME type veth peer name p-$CNI_IFNAME
        ip address add 10.$n.0.2/24 dev $CNI_IFNAME
        ip link set $CNI_IFNAME up; ip link set p-$CNI_IFNAME up
        ip route add default via 10.$n.0.1" >&2
    cat <<END
{"cniVersion": "1.0.0", "interfaces": [{"name": "$CNI_IFNAME", "mac": "02:00:00:00:00:0$n", "sandbox": "$CNI_NETNS"}],
 "ips": [{"address": "10.$n.0.2/24", "gateway": "10.$n.0.1", "interface": 0}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.$n.0.1"}]}
END
    ;;
DEL) [ -z "$CNI_NETNS" ] || nsenter --net="$CNI_NETNS" ip link del "$CNI_IFNAME" 2>/dev/null ;;
esac
exit 0
`

// The program under test, and the control plane that all tests share.
var (
	program string
	plane   *kube.ControlPlane
)

func TestMain(m *testing.M) { os.Exit(prepare(m)) }

func prepare(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bondkeeper-multus-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if program, err = peers.Program("../../..", dir, "multus"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return kube.Main(m, &plane)
}

// bench is one sandbox with its delegates, and a directory that holds all files of both.
type bench struct {
	dir, sandbox string
	// kubeconfig leads to the API server; empty without one.
	kubeconfig string
	// pod is the name in CNI_ARGS, and args is what follows it there.
	pod, args string
	// extra is more of the config, beginning with a comma.
	extra string
}

const container = "c0ffee"

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	kit.Must(t, os.WriteFile(filepath.Join(dir, "recorder"), []byte(recorder), 0o755))
	name := fmt.Sprintf("multus-%d-%d", os.Getpid(), os.Getuid())
	command(t, "ip", "netns", "add", name)
	t.Cleanup(func() { command(t, "ip", "netns", "del", name) })
	return &bench{dir: dir, sandbox: "/run/netns/" + name, pod: "pod1"}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// config is what the program reads from standard input: a cluster network and, without an API server, two more.
func (b *bench) config() string {
	network := func(name string) string {
		return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "type": "recorder"}`, name)
	}
	delegates := []string{network("cluster")}
	if b.kubeconfig == "" {
		delegates = append(delegates, network("a"), network("b"))
	}
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "node", "type": "multus", "kubeconfig": %q, "cniDir": %q, "binDir": %q, "delegates": [%s]%s}`,
		b.kubeconfig, filepath.Join(b.dir, "cni"), b.dir, strings.Join(delegates, ", "), b.extra)
}

// run runs a verb and returns the result or the error's text.
func (b *bench) run(t *testing.T, verb string) (result string, failed string) {
	t.Helper()
	return kit.CallCNI(t, program, b.config(),
		"CNI_COMMAND="+verb, "CNI_CONTAINERID="+container, "CNI_NETNS="+b.sandbox, "CNI_IFNAME=eth0", "CNI_PATH="+b.dir,
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME="+b.pod+";K8S_POD_INFRA_CONTAINER_ID="+container+b.args)
}

// must runs a verb that has to succeed.
func (b *bench) must(t *testing.T, verb string) string {
	t.Helper()
	result, failed := b.run(t, verb)
	if failed != "" {
		t.Fatalf("%s: %s", verb, failed)
	}
	return result
}

// calls are the delegates' calls since the last time, without their CNI_ARGS.
func (b *bench) calls(t *testing.T) (calls []string, args []string) {
	t.Helper()
	file := filepath.Join(b.dir, "calls")
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	kit.Must(t, err)
	kit.Must(t, os.Remove(file))
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		fields := strings.SplitN(line, " ", 4)
		calls, args = append(calls, strings.Join(fields[:3], " ")), append(args, fields[3])
	}
	return calls, args
}

// expect compares the delegates' calls since the last time.
func (b *bench) expect(t *testing.T, want ...string) {
	t.Helper()
	got, _ := b.calls(t)
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("calls: %v\nwant   %v", got, want)
	}
}

// fail makes a verb of an interface's delegate fail until the returned function is called.
func (b *bench) fail(t *testing.T, verb, ifName string) (repair func()) {
	t.Helper()
	file := filepath.Join(b.dir, "fail-"+verb+"-"+ifName)
	kit.Must(t, os.WriteFile(file, nil, 0o600))
	return func() {
		kit.Must(t, os.Remove(file))
	}
}

// routes are the sandbox's default routes.
func (b *bench) routes(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, line := range strings.Split(command(t, "nsenter", "--net="+b.sandbox, "ip", "-4", "route", "show", "default"), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// mode is a file's mode and kind as ls has it; "none" without the file.
func (b *bench) mode(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(filepath.Join(b.dir, path))
	if os.IsNotExist(err) {
		return "none"
	}
	kit.Must(t, err)
	return info.Mode().String()
}
