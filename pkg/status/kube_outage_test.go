//go:build kube

package status_test

import (
	"context"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	flowv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

// TestKubeUnavailable: the API server is unavailable while every pod changes many times. Afterwards each has one patch,
// with the last state.
func TestKubeUnavailable(t *testing.T) {
	c, wire := agent(t, "away")
	r, _ := run(t, c)
	pods := []bond.Pod{podOn(t, "a", "away"), podOn(t, "b", "away"), podOn(t, "c", "away")}
	bonds := make([]bond.Status, len(pods))
	for i, p := range pods {
		bonds[i] = bondOf(p, "bond0")
		r.Report(bonds[i])
	}
	for _, p := range pods {
		awaitReported(t, r, p, 0)
	}
	if err := cp.StopServer(); err != nil {
		t.Fatal(err)
	}
	wire.take()
	for wire.status(0) < 3 { // pauses of 1, 2 and 4 seconds
		for i := range bonds {
			bonds[i] = repaired(bonds[i])
			r.Report(bonds[i])
		}
		<-time.After(50 * time.Millisecond)
	}
	if err := cp.StartServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, p := range pods {
		awaitReported(t, r, p, bonds[i].Repairs)
	}
	await(t, "nothing is left to do", func() bool { return r.PendingPods() == 0 })
	got := wire.take()
	t.Log(got)
	if got.patches != len(pods) || got.checks != 0 {
		t.Errorf("%s; want one patch per pod", got)
	}
}

// TestKubeRepairGoesOn: the API server hangs. A bond that breaks meanwhile is repaired by the real engine and
// controller as usual, and reported when the API server continues.
func TestKubeRepairGoesOn(t *testing.T) {
	c, wire := agent(t, "hangs")
	c.Timeout = time.Second
	r, _ := run(t, c)
	p := podOn(t, "p", "hangs")
	node, rec := brokenNode(t, p)
	records, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := records.Save(rec); err != nil {
		t.Fatal(err)
	}
	l := controller.New(controller.Config{Engine: reconcile.New(reconcile.Config{Kernel: node, Store: records}), Report: r.Report, Forget: r.Forget})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l.Enqueue(rec.Key, "test")
	await(t, "the bond is reported", func() bool { return len(decode(t, get(t, p))) == 1 && r.PendingPods() == 0 })

	if err := cp.PauseServer(); err != nil {
		t.Fatal(err)
	}
	wire.take()
	repairs := func() int {
		now, err := records.Load(rec.Key)
		if err != nil {
			t.Fatal(err)
		}
		return now.Repairs.Count
	}
	const rounds = 5
	for range rounds {
		before := repairs()
		if err := node.MoveToHost(rec.Sandbox.Path, "net1"); err != nil {
			t.Fatal(err)
		}
		l.Enqueue(rec.Key, "test")
		await(t, "the bond is repaired", func() bool { return repairs() > before })
		await(t, "requests time out", func() bool { return wire.status(0) > 0 })
	}
	if got := wire.take(); got.patches != 0 {
		t.Errorf("the API server does not hang: %s", got)
	}
	if err := cp.ResumeServer(); err != nil {
		t.Fatal(err)
	}
	awaitReported(t, r, p, repairs())
	wantCondition(t, get(t, p), corev1.ConditionTrue, "AllReady")
}

// brokenNode returns a fake kernel with the pod's two VFs and no bond yet, and the bond's record.
func brokenNode(t *testing.T, p bond.Pod) (*linktest.Fake, *bond.Record) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	node := linktest.New()
	const path = "/run/netns/pod"
	rec := &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseReady, Network: "bond-net", Pod: p, Sandbox: node.AddPod(path),
		Spec: bond.Spec{MTU: 1500, Options: bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}},
	}
	for i, card := range []string{"ens1", "ens2"} {
		name := []string{"net1", "net2"}[i]
		must(node.AddPF(card, bond.PCIAddress([]string{"0000:01:00.0", "0000:02:00.0"}[i])))
		must(node.SetNumVFs(card, 1))
		pci := node.VFs(card)[0]
		must(node.MoveToNetns(linktest.Host, hostName(t, node, pci), path, name))
		must(node.SetUp(path, name))
		vf, _ := node.VF(pci)
		l, _ := node.Link(path, name)
		rec.Members = append(rec.Members, bond.Member{
			Name: name, PCI: pci, MAC: l.MAC, VF: &vf, Original: bond.Original{Name: name, MAC: l.MAC, MTU: l.MTU, Up: true},
		})
	}
	rec.Spec.MAC = rec.Members[0].MAC
	return node, rec
}

func hostName(t *testing.T, node *linktest.Fake, pci bond.PCIAddress) string {
	t.Helper()
	for _, name := range []string{"eth0", "eth1"} {
		if l, ok := node.Link(linktest.Host, name); ok && l.PCI == pci {
			return name
		}
	}
	t.Fatalf("VF %s is not in the host", pci)
	return ""
}

// TestKubeThrottled: the API server's priority and fairness rejects the agents' requests.
func TestKubeThrottled(t *testing.T) {
	c, wire := agent(t, "throttled")
	r, _ := run(t, c)
	p := podOn(t, "p", "throttled")
	b := bondOf(p, "bond0")
	r.Report(b)
	awaitReported(t, r, p, 0)
	none := int32(0)
	flows := cp.Client().FlowcontrolV1()
	_, err := flows.PriorityLevelConfigurations().Create(t.Context(), &flowv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec: flowv1.PriorityLevelConfigurationSpec{Type: flowv1.PriorityLevelEnablementLimited, Limited: &flowv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &none, LendablePercent: &none, BorrowingLimitPercent: &none,
			LimitResponse: flowv1.LimitResponse{Type: flowv1.LimitResponseTypeReject},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = flows.FlowSchemas().Create(t.Context(), &flowv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "agents"},
		Spec: flowv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowv1.PriorityLevelConfigurationReference{Name: "none"}, MatchingPrecedence: 2,
			Rules: []flowv1.PolicyRulesWithSubjects{{
				Subjects: []flowv1.Subject{{Kind: flowv1.SubjectKindServiceAccount, ServiceAccount: &flowv1.ServiceAccountSubject{Namespace: kube.AgentNamespace, Name: kube.AgentAccount}}},
				ResourceRules: []flowv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop := crowd(t, p)
	await(t, "requests are throttled", func() bool { b = repaired(b); r.Report(b); return wire.status(http.StatusTooManyRequests) > 1 })
	stop()
	if err := flows.FlowSchemas().Delete(t.Context(), "agents", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitReported(t, r, p, b.Repairs)
	t.Log(wire.take())
}

// crowd requests the pod repeatedly as an agent, in parallel, until stop is called. The API server lets one request of
// a priority level pass even if none is allowed.
func crowd(t *testing.T, p bond.Pod) (stop func()) {
	t.Helper()
	client, err := kubernetes.NewForConfig(cp.AgentConfig(t, "crowd"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				client.CoreV1().RESTClient().Get().Namespace(p.Namespace).Resource("pods").Name(p.Name).MaxRetries(0).Do(ctx)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// TestKubeTokenExpired: the token is not valid any more. The kubelet writes a new one, and the bond is reported.
func TestKubeTokenExpired(t *testing.T) {
	c, wire := agent(t, "expired")
	path := withToken(t, c.API)
	r, _ := run(t, c)
	p := podOn(t, "p", "expired")
	b := bondOf(p, "bond0")
	r.Report(b)
	awaitReported(t, r, p, 0)
	cp.RevokeAgents(t, "expired")
	await(t, "the API server rejects the token", func() bool { b = repaired(b); r.Report(b); return wire.status(http.StatusUnauthorized) > 0 })
	if err := os.WriteFile(path, []byte(cp.AgentConfig(t, "expired").BearerToken), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitReported(t, r, p, b.Repairs)
}

// TestKubeTwoAgents: two agents of one node at once. Both report, the last state remains, and then both send nothing.
func TestKubeTwoAgents(t *testing.T) {
	c, wire := agent(t, "two")
	d, other := agent(t, "two")
	d.Dir = c.Dir
	one, _ := run(t, c)
	two, _ := run(t, d)
	p := podOn(t, "p", "two")
	b := bondOf(p, "bond0")
	for range 5 {
		one.Report(b)
		two.Report(b)
		awaitReported(t, one, p, b.Repairs)
		awaitReported(t, two, p, b.Repairs)
		b = repaired(b)
	}
	await(t, "both have reported", func() bool { return one.PendingPods() == 0 && two.PendingPods() == 0 })
	version := get(t, p).ResourceVersion
	for _, m := range []*meter{wire, other} {
		if got := m.take(); got.patches > 5 || len(got.failed) > 0 {
			t.Error(got)
		}
	}
	one.Report(repaired(b))
	awaitReported(t, one, p, b.Repairs+1)
	two.Report(repaired(b))
	await(t, "both have reported", func() bool { return one.PendingPods() == 0 && two.PendingPods() == 0 })
	if list := decode(t, get(t, p)); list[0].Repairs != b.Repairs+1 || get(t, p).ResourceVersion == version {
		t.Errorf("reported %+v", list)
	}
}
