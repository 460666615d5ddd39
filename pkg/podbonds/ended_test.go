package podbonds

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// podIn is a pod of a phase with a bond that was Degraded last.
func podIn(phase corev1.PodPhase) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: strings.ToLower(string(phase)), Annotations: map[string]string{v1.Annotation: `[{"interface":"bond0","state":"Degraded"}]`}},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

// TestEndedPodsAreLeftOut: the bonds of a pod that has ended are gone, and nothing changes its annotation any more.
func TestEndedPodsAreLeftOut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}}
		for _, phase := range []corev1.PodPhase{corev1.PodFailed, corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded} {
			list.Items = append(list.Items, podIn(phase))
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	kit.Must(t, err)
	all, version, err := List(t.Context(), client, "demo", "")
	kit.Must(t, err)
	if len(all) != 2 || all[0].Pod != "pending" || all[1].Pod != "running" || version != "7" {
		t.Errorf("listed %+v, version %s", all, version)
	}

	shown := 0
	last := map[types.NamespacedName][]Bond{}
	for _, phase := range []corev1.PodPhase{corev1.PodRunning, corev1.PodFailed} {
		pod := podIn(phase)
		pod.Name = "p"
		kit.Must(t, handle(watch.Event{Type: watch.Modified, Object: &pod}, last, func([]Bond) error { shown++; return nil }))
	}
	if shown != 1 || len(last) != 0 {
		t.Errorf("shown %d times, known %v", shown, last)
	}
	pod := podIn(corev1.PodFailed)
	var text strings.Builder
	kit.Must(t, (&Explanation{Pod: &pod, Bonds: Of(&pod)}).WriteText(&text, time.Now()))
	if !strings.Contains(text.String(), "has ended (Failed)") || !strings.Contains(text.String(), "Degraded") {
		t.Errorf("explanation:\n%s", &text)
	}
}
