//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// reportedStatus is the agent's report on a pod with one bond.
type reportedStatus struct {
	v1.Bond
	condition corev1.PodCondition
}

// read returns the agent's report on a pod, or an error if a part is missing.
func read(p *corev1.Pod) (reportedStatus, error) {
	var bonds []v1.Bond
	if err := json.Unmarshal([]byte(p.Annotations[v1.Annotation]), &bonds); err != nil {
		return reportedStatus{}, fmt.Errorf("annotation %q: %w", p.Annotations[v1.Annotation], err)
	}
	if len(bonds) != 1 {
		return reportedStatus{}, fmt.Errorf("%d bonds, want one", len(bonds))
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.Condition {
			return reportedStatus{bonds[0], c}, nil
		}
	}
	return reportedStatus{}, fmt.Errorf("no condition %s", v1.Condition)
}

// awaitBond waits until the agent reports the expected state of the pod's one bond, and shows it as kubectl does.
func (c *cluster) awaitBond(t *testing.T, pod string, state v1.State, condition corev1.ConditionStatus, repairs int) *corev1.Pod {
	t.Helper()
	p := c.awaitPod(t, "demo", pod, func(p *corev1.Pod) string {
		is, err := read(p)
		switch {
		case err != nil:
			return err.Error()
		case is.State != state || is.condition.Status != condition || is.Repairs < repairs:
			return fmt.Sprintf("it is %s, condition %s, %d repairs (%s); want %s, %s, %d", is.State, is.condition.Status, is.Repairs, is.Reason, state, condition, repairs)
		case p.Annotations[status.NetworkStatus] == "":
			return "no network-status"
		}
		return ""
	})
	is, _ := read(p)
	t.Logf("%s: %s, condition %s (%s: %s), active %s, %d repairs %s", pod, is.State, is.condition.Status, is.condition.Reason, is.condition.Message, is.Active, is.Repairs, is.Reason)
	return p
}

// repairs returns the number of repairs that the agent has reported.
func (c *cluster) repairs(t *testing.T, pod string) int {
	t.Helper()
	is, err := read(c.pod(t, pod))
	if err != nil {
		t.Fatalf("pod %s: %v", pod, err)
	}
	return is.Repairs
}

// awaitReady waits for the pod's own condition Ready, which depends on its readiness gate.
func (c *cluster) awaitReady(t *testing.T, pod string, want corev1.ConditionStatus) {
	t.Helper()
	c.kubectl(t, "wait", "--namespace=demo", "--for=condition=Ready="+string(want), "pod/"+pod, "--timeout="+timeout.String())
}

// awaitEvent waits for an event of the agent about the pod.
func (c *cluster) awaitEvent(t *testing.T, pod, reason string) {
	t.Helper()
	selector := fmt.Sprintf("involvedObject.name=%s,reason=%s,source=bondkeeper", pod, reason)
	c.await(t, "event "+reason+" of "+pod, func() bool {
		out := c.kubectl(t, "get", "events", "--namespace=demo", "--field-selector="+selector, "--output=name")
		return out != "" && out[0] == 'e'
	})
}
