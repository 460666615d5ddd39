package podbonds

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// pageSize is the number of pods per request: lists of all pods of a large cluster are not held in memory.
const pageSize = 500

// Bond is one bond of a pod, as its annotation says.
type Bond struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	v1.Bond   `json:",inline"`
	// Problem is why the annotation cannot be read; empty otherwise. Such a bond has no other fields.
	Problem string `json:"problem,omitempty"`
}

// Of returns the bonds of a pod; none if it has no annotation.
func Of(pod *corev1.Pod) []Bond {
	text, found := pod.Annotations[v1.Annotation]
	if !found {
		return nil
	}
	bond := Bond{Namespace: pod.Namespace, Pod: pod.Name, Node: pod.Spec.NodeName}
	if len(text) > v1.MaxSize { // any user who may edit the pod can write one with 80,000 bonds
		bond.Problem = fmt.Sprintf("the annotation %s is not the agent's: it has %d bytes, at most %d are written", v1.Annotation, len(text), v1.MaxSize)
		return []Bond{bond}
	}
	var entries []v1.Bond
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		bond.Problem = fmt.Sprintf("the annotation %s is damaged: %v", v1.Annotation, err)
		return []Bond{bond}
	}
	var all []Bond
	for _, e := range entries {
		bond.Bond = e
		all = append(all, bond)
	}
	return all
}

// ended reports whether a pod's containers have all ended for good. Its sandbox and its bonds are gone, or about to be,
// and the annotation remains as it was.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// List returns the bonds of all pods of a namespace that the selector selects, of all namespaces if it is empty, the
// worst first, and the resource version that a watch continues from. Pods that have ended are left out.
func List(ctx context.Context, client kubernetes.Interface, namespace, selector string) (all []Bond, version string, err error) {
	all = []Bond{}
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, "", fmt.Errorf("list pods: %w", err)
		}
		for i := range page.Items {
			if pod := &page.Items[i]; !ended(pod) {
				all = append(all, Of(pod)...)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			Sort(all)
			return all, page.ResourceVersion, nil
		}
	}
}

// Sort sorts bonds: the worst first, then by namespace, pod and interface.
func Sort(all []Bond) {
	slices.SortStableFunc(all, func(a, b Bond) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Interface, b.Interface))
	})
}

// rank is higher for worse states. A state that this program does not know is as bad as an unreadable annotation.
func (b *Bond) rank() int {
	i := slices.Index(v1.States(), b.State)
	if i < 0 {
		return len(v1.States())
	}
	return i
}

// lostSince is when the first loss of a member that is not repaired yet was detected; zero if nothing is lost.
func (b *Bond) lostSince() (since time.Time) {
	for _, m := range b.Members {
		if !m.Since.IsZero() && (since.IsZero() || m.Since.Before(since)) {
			since = m.Since
		}
	}
	return since
}

// carrying is the number of members that carry traffic.
func (b *Bond) carrying() (n int) {
	for _, m := range b.Members {
		if m.Carries() {
			n++
		}
	}
	return n
}
