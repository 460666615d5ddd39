//go:build kube

package status_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// reasonsOn returns the reasons of the events on a pod, sorted.
func reasonsOn(t testing.TB, p bond.Pod) []string {
	t.Helper()
	list, err := cp.Client().CoreV1().Events(p.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		if string(e.InvolvedObject.UID) == p.UID {
			all = append(all, e.Reason)
		}
	}
	slices.Sort(all)
	return all
}

// TestKubeLifeOfABond: the requests of a bond, from its start to a restart of the agent.
func TestKubeLifeOfABond(t *testing.T) {
	c, wire := agent(t, "life")
	r, stop := run(t, c)
	p := podOn(t, "p", "life")
	multus := get(t, p).Annotations[status.NetworkStatus]
	b := bondOf(p, "bond0")
	r.Report(b)
	awaitReported(t, r, p, 0)
	start := wire.take()
	start.want(t, 1, 1, 0)
	t.Log("start:", start)
	first := get(t, p)
	wantCondition(t, first, corev1.ConditionTrue, "AllReady")

	r.Report(down(b))
	await(t, "the pod has Down", func() bool { return decode(t, get(t, p))[0].State == v1.Down })
	wantCondition(t, get(t, p), corev1.ConditionFalse, "Down")
	b = repaired(b)
	r.Report(b)
	awaitReported(t, r, p, 1)
	await(t, "both events", func() bool { return len(reasonsOn(t, p)) == 2 })
	if got, want := reasonsOn(t, p), []string{status.EventDown, status.EventRepaired}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	loss := wire.take()
	loss.want(t, 0, 2, 2)
	t.Log("a loss and its repair:", loss)

	stop()
	version := get(t, p).ResourceVersion
	r, stop = run(t, c)
	r.Report(b)
	await(t, "the restarted agent has compared", func() bool { return r.PendingPods() == 0 })
	wire.take().want(t, 0, 0, 0)
	stop()
	c.Dir = filepath.Join(t.TempDir(), "lost")
	r, _ = run(t, c)
	r.Report(b)
	await(t, "the agent that lost its files has checked", func() bool { return r.PendingPods() == 0 })
	lost := wire.take()
	lost.want(t, 1, 0, 0)
	t.Log("restart with its files lost:", lost)
	r.Forget(b.Key)
	await(t, "nothing is left to do", func() bool { return r.PendingPods() == 0 })
	wire.take().want(t, 0, 0, 0)
	last := get(t, p)
	if last.ResourceVersion != version {
		t.Error("an agent without news changed the pod")
	}
	if last.Annotations[status.NetworkStatus] != multus {
		t.Errorf("Multus's annotation is %q", last.Annotations[status.NetworkStatus])
	}
}

func TestKubeWaitsForMultus(t *testing.T) {
	c, wire := agent(t, "multus")
	c.NetworkWait = 3 * time.Second
	r, _ := run(t, c)
	late, never := podWithoutNetworks(t, "late", "multus"), podWithoutNetworks(t, "never", "multus")
	r.Report(bondOf(late, "bond0"))
	await(t, "a check", func() bool { wire.mu.Lock(); defer wire.mu.Unlock(); return wire.checks > 0 })
	before := get(t, late)
	if decode(t, before) != nil {
		t.Error("reported before Multus has written")
	}
	networks(t, late)
	awaitReported(t, r, late, 0)
	r.Report(bondOf(never, "bond0"))
	awaitReported(t, r, never, 0)
	if got := wire.take(); got.patches != 2 {
		t.Errorf("%s; want two patches", got)
	}
}

// TestKubeCheckChangesNothing: a check does not change the pod's resource version.
func TestKubeCheckChangesNothing(t *testing.T) {
	c, wire := agent(t, "check")
	r, _ := run(t, c)
	p := podWithoutNetworks(t, "p", "check")
	version := get(t, p).ResourceVersion
	r.Report(bondOf(p, "bond0"))
	await(t, "two checks", func() bool { wire.mu.Lock(); defer wire.mu.Unlock(); return wire.checks > 1 })
	if now := get(t, p).ResourceVersion; now != version {
		t.Errorf("the pod's version went from %s to %s", version, now)
	}
}

// TestKubePodNotFound: a pod that was deleted, or deleted and recreated under the same name, is requested once and not
// changed.
func TestKubePodNotFound(t *testing.T) {
	c, wire := agent(t, "gone")
	r, _ := run(t, c)
	deleted, replaced := podOn(t, "deleted", "gone"), podOn(t, "replaced", "gone")
	pods := cp.Client().CoreV1().Pods(deleted.Namespace)
	for i, p := range []bond.Pod{deleted, replaced} {
		b := bondOf(p, "bond0")
		r.Report(b)
		awaitReported(t, r, p, 0)
		if err := pods.Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		var other bond.Pod
		if p == replaced {
			other = podOn(t, p.Name, "gone")
		}
		for n := range 5 {
			b = repaired(b)
			r.Report(b)
			code := []int{http.StatusNotFound, http.StatusUnprocessableEntity}[i]
			await(t, "the API server has returned that there is no such pod", func() bool { return wire.status(code) > 0 && r.PendingPods() == 0 })
			if wire.status(code) != 1 {
				t.Fatalf("%d requests for a pod that is gone after %d changes", wire.status(code), n+1)
			}
		}
		if p == replaced && decode(t, get(t, other)) != nil {
			t.Error("the bond of the old pod was reported on the new one")
		}
		wire.take().want(t, 1, 1, 0)
	}
}

func TestKubeEditedByHand(t *testing.T) {
	c, _ := agent(t, "edited")
	r, _ := run(t, c)
	p := podOn(t, "p", "edited")
	b := bondOf(p, "bond0")
	r.Report(b)
	awaitReported(t, r, p, 0)
	edit(t, p, map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1.Annotation: "all is well", "other": "stays"}}})
	r.Report(repaired(b))
	await(t, "the annotation is ours again", func() bool { return strings.HasPrefix(get(t, p).Annotations[v1.Annotation], "[") })
	if got := get(t, p); decode(t, got)[0].Repairs != 1 || got.Annotations["other"] != "stays" {
		t.Errorf("annotations %v", got.Annotations)
	}
}

// TestKubeLargest: the admission policy accepts the largest annotation and the longest message.
func TestKubeLargest(t *testing.T) {
	c, wire := agent(t, "large")
	r, _ := run(t, c)
	p := podOn(t, "p", "large")
	for i := range 200 {
		b := lose(bondOf(p, "bond"+string(rune('a'+i%26))+string(rune('a'+i/26))))
		b.Reason = strings.Repeat("ü\"\x1b", 2000)
		r.Report(b)
	}
	await(t, "it is written", func() bool { return r.PendingPods() == 0 && len(decode(t, get(t, p))) > 10 })
	if n := len(get(t, p).Annotations[v1.Annotation]); n < 30<<10 || n > v1.MaxSize {
		t.Errorf("annotation of %d bytes", n)
	}
	await(t, "events", func() bool { return len(reasonsOn(t, p)) >= 10 })
	if wire.status(http.StatusUnprocessableEntity)+wire.status(http.StatusForbidden) > 0 {
		t.Error("rejected:", wire.take())
	}
}

// TestKubeReadinessGate: a condition that is a readiness gate follows the bond.
func TestKubeReadinessGate(t *testing.T) {
	c, _ := agent(t, "gated")
	r, _ := run(t, c)
	cp.Namespace(t, namespace(t))
	cp.Node(t, "gated")
	made, err := cp.Client().CoreV1().Pods(namespace(t)).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{status.NetworkStatus: "[]"}},
		Spec: corev1.PodSpec{
			NodeName: "gated", Containers: []corev1.Container{{Name: "main", Image: "none"}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: v1.Condition}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := bond.Pod{Namespace: made.Namespace, Name: made.Name, UID: string(made.UID)}
	b := bondOf(p, "bond0")
	since := map[corev1.ConditionStatus]metav1.Time{}
	for _, step := range []struct {
		b      bond.Status
		status corev1.ConditionStatus
		reason string
	}{{b, corev1.ConditionTrue, "AllReady"}, {lose(b), corev1.ConditionTrue, "Degraded"}, {down(b), corev1.ConditionFalse, "Down"}} {
		r.Report(step.b)
		await(t, "the condition has the reason "+step.reason, func() bool {
			list := get(t, p).Status.Conditions
			return len(list) == 1 && list[0].Reason == step.reason
		})
		wantCondition(t, get(t, p), step.status, step.reason)
		at := condition(t, get(t, p)).LastTransitionTime
		if before, known := since[step.status]; known && !at.Equal(&before) {
			t.Errorf("%s: the condition's time changed and its status did not", step.reason)
		}
		since[step.status] = at
	}
}
