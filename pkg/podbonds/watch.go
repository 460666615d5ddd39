package podbonds

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolswatch "k8s.io/client-go/tools/watch"
)

// Watch calls show with a pod's bonds when they differ from those that were listed or shown last, until ctx ends. It
// continues from the list's resource version, also after the connection was lost. Pods that were deleted or have ended are
// not shown.
func Watch(ctx context.Context, client kubernetes.Interface, namespace, selector string, listed []Bond, version string, show func([]Bond) error) error {
	source := &podWatcher{client: client, namespace: namespace, selector: selector}
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, version, source)
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	defer w.Stop()
	last := map[types.NamespacedName][]Bond{}
	for _, b := range listed {
		pod := types.NamespacedName{Namespace: b.Namespace, Name: b.Pod}
		last[pod] = append(last[pod], b)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-w.ResultChan():
			if !open {
				return nil
			}
			if err := handle(event, last, show); err != nil {
				return err
			}
		}
	}
}

func handle(event watch.Event, last map[types.NamespacedName][]Bond, show func([]Bond) error) error {
	if event.Type == watch.Error {
		return fmt.Errorf("watch pods (start again): %w", apierrors.FromObject(event.Object))
	}
	pod, isPod := event.Object.(*corev1.Pod)
	if !isPod {
		return nil
	}
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	if event.Type == watch.Deleted || ended(pod) {
		delete(last, name)
		return nil
	}
	now := Of(pod)
	Sort(now)
	if len(now) == 0 || reflect.DeepEqual(now, last[name]) {
		return nil
	}
	last[name] = now
	return show(now)
}

// podWatcher watches the selected pods.
type podWatcher struct {
	client              kubernetes.Interface
	namespace, selector string
}

// WatchWithContext implements cache.WatcherWithContext.
func (p *podWatcher) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.LabelSelector = p.selector
	return p.client.CoreV1().Pods(p.namespace).Watch(ctx, options)
}
