package podbonds

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/bondkeeper/bondkeeper/pkg/cli"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// Explanation is what the API server has about the bonds of a pod.
type Explanation struct {
	Pod    *corev1.Pod
	Bonds  []Bond
	Events []corev1.Event // of the bonds, the oldest first
}

// Explain reads a pod and its events. Without the right to list events there are none.
func Explain(ctx context.Context, client kubernetes.Interface, namespace, name string) (Explanation, error) {
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Pod: pod, Bonds: Of(pod)}
	Sort(e.Bonds)
	selector := fields.Set{"involvedObject.uid": string(pod.UID)}.AsSelector().String()
	events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		return e, nil //nolint:nilerr // documented
	}
	for _, ev := range events.Items {
		if ev.ReportingController == v1.EventSource {
			e.Events = append(e.Events, ev)
		}
	}
	slices.SortStableFunc(e.Events, func(a, b corev1.Event) int { return lastTime(&a).Compare(lastTime(&b)) })
	return e, nil
}

func lastTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	default:
		return e.LastTimestamp.Time
	}
}

// WriteText writes the explanation for a terminal.
func (e *Explanation) WriteText(w io.Writer, now time.Time) error {
	if len(e.Bonds) == 0 {
		_, err := fmt.Fprintf(w, "Pod %s/%s has no annotation %s: it has no bond, or the agent of node %s has not reported it (yet).\n",
			e.Pod.Namespace, e.Pod.Name, v1.Annotation, cli.Dash(e.Pod.Spec.NodeName))
		return err
	}
	fmt.Fprintf(w, "Pod %s/%s on node %s\n", e.Pod.Namespace, e.Pod.Name, cli.Dash(e.Pod.Spec.NodeName))
	if ended(e.Pod) {
		fmt.Fprintf(w, "The pod has ended (%s): its bonds are as they were last reported.\n", e.Pod.Status.Phase)
	}
	for _, c := range e.Pod.Status.Conditions {
		if string(c.Type) == v1.Condition {
			fmt.Fprintf(w, "Condition %s: %s since %s: %s\n", c.Type, c.Status, c.LastTransitionTime.UTC().Format(time.RFC3339), cli.Quote(c.Message))
		}
	}
	for i := range e.Bonds {
		if err := e.Bonds[i].writeText(w, now); err != nil {
			return err
		}
	}
	if len(e.Events) > 0 {
		fmt.Fprintln(w, "\nEvents:")
	}
	for i := range e.Events {
		ev := &e.Events[i]
		fmt.Fprintf(w, "  %s  %s: %s\n", lastTime(ev).UTC().Format(time.RFC3339), cli.Quote(ev.Reason), cli.Quote(ev.Message))
	}
	_, err := fmt.Fprintf(w, "\nMore, from the node itself: kubectl exec -n bondkeeper AGENT_POD -- /agent explain %s/%s (AGENT_POD is the agent's pod on node %s)\n",
		e.Pod.Namespace, e.Pod.Name, cli.Dash(e.Pod.Spec.NodeName))
	return err
}

func (b *Bond) writeText(w io.Writer, now time.Time) error {
	if b.Problem != "" {
		_, err := fmt.Fprintf(w, "\n%s\n", cli.Quote(b.Problem))
		return err
	}
	if b.Omitted.Bonds > 0 {
		_, err := fmt.Fprintf(w, "\n%d more bonds, the worst is %s\n", b.Omitted.Bonds, cli.Quote(string(b.State)))
		return err
	}
	fmt.Fprintf(w, "\nBond %s: %s (mode %s, MAC %s, MTU %d, network %s)\n", cli.Quote(b.Interface), cli.Quote(string(b.State)), cli.Dash(cli.Quote(b.Mode)),
		cli.Dash(cli.Quote(b.MAC)), b.MTU, cli.Dash(cli.Quote(b.Network)))
	if b.Reason != "" {
		fmt.Fprintf(w, "  reason: %s\n", cli.Quote(b.Reason))
	}
	for _, warning := range b.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", cli.Quote(warning))
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "  MEMBER\tSTATE\tFOR\tPCI\tPF\tREASON")
	for i := range b.Members {
		m := &b.Members[i]
		age := "-"
		if !m.Since.IsZero() {
			age = now.Sub(m.Since).Round(time.Second).String()
		}
		pf := "-"
		if m.PF != "" && m.VF != nil {
			pf = fmt.Sprintf("VF %d of %s", *m.VF, cli.Quote(m.PF))
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", cli.Quote(m.Name), cli.Quote(m.State), age, cli.Dash(cli.Quote(m.PCI)), pf, cli.Dash(cli.Quote(m.Reason)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r := b.LastRepair; r != (v1.Repair{}) {
		fmt.Fprintf(w, "  %d repairs; last: %s after %s, %s ago, took %s\n", b.Repairs, cli.Dash(cli.Quote(r.Member)), cli.Quote(r.Cause),
			now.Sub(r.At).Round(time.Second), time.Duration(r.TookMs)*time.Millisecond)
	}
	return nil
}
