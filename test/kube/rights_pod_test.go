//go:build kube

package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	statusv1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// Parts of the policy's messages.
const (
	onlyAnnotation  = "of a pod's annotations the agent may change only bondkeeper.io/bonds"
	onlyMetadata    = "of a pod's metadata the agent may change nothing but its annotation"
	onlyStatus      = "of a pod's status the agent may change nothing but its condition"
	onlyCondition   = "of a pod's conditions the agent may change only bondkeeper.io/BondsReady"
	badCondition    = "the condition bondkeeper.io/BondsReady is there twice"
	annotationLarge = "the annotation bondkeeper.io/bonds is larger than 32 KiB"
	noNode          = "the agent's token names no node"
)

// podAttempts are patches of pods/status.
var podAttempts = []attempt{
	{"own annotation and condition", strategic(bondsPatch("[]", "True", "AllReady", "well")), accepted, ""},
	{"own annotation and condition away", strategic(`{"metadata":{"annotations":{"bondkeeper.io/bonds":null}},
		"status":{"conditions":[{"$patch":"delete","type":"bondkeeper.io/BondsReady"}]}}`), accepted, ""},
	{"own annotation of a pod that is being deleted", func(ctx context.Context, s *fixture) error {
		if err := shared.client.CoreV1().Pods(s.own.Namespace).Delete(ctx, s.own.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		return patchStatus(ctx, s.agent, s.own, types.StrategicMergePatchType, bondsPatch("[1]", "False", "", ""))
	}, accepted, ""},
	{"annotation of the maximum size", strategic(bondsPatch(strings.Repeat("x", statusv1.MaxSize), "True", "", "")), accepted, ""},
	{"annotation too large", strategic(bondsPatch(strings.Repeat("x", statusv1.MaxSize+1), "True", "", "")), policy, annotationLarge},
	{"annotation too large, in few characters", strategic(bondsPatch(strings.Repeat("é", statusv1.MaxSize/2+1), "True", "", "")), policy, annotationLarge},
	{"condition of the maximum size", strategic(bondsPatch("[]", "Unknown", strings.Repeat("R", 128), strings.Repeat("x", 1024))), accepted, ""},
	{"condition with a long message", strategic(bondsPatch("[]", "True", "", strings.Repeat("x", 1025))), policy, badCondition},
	{"condition with a long reason", strategic(bondsPatch("[]", "True", strings.Repeat("R", 129), "")), policy, badCondition},
	{"condition neither true nor false", strategic(bondsPatch("[]", "Maybe", "", "")), policy, badCondition},
	{"condition twice", patch(types.JSONPatchType, fmt.Sprintf(`[%[1]s,%[1]s]`,
		`{"op":"add","path":"/status/conditions/-","value":{"type":"bondkeeper.io/BondsReady","status":"True"}}`)), policy, badCondition},

	{"wrong UID", strategic(`{"metadata":{"uid":"00000000-0000-0000-0000-000000000000","annotations":{"bondkeeper.io/bonds":"x"}}}`), server, "metadata.uid: Invalid value"},
	{"pod of another node", on(otherPod, bondsPatch("[1]", "True", "", "")), policy, `the pod is on node "rights-b", the agent on "rights-a"`},
	{"token without node", func(ctx context.Context, s *fixture) error {
		return patchStatus(ctx, s.nodeless, s.own, types.StrategicMergePatchType, bondsPatch("[1]", "True", "", ""))
	}, policy, noNode},

	{"another annotation", strategic(`{"metadata":{"annotations":{"example.com/new":"x"}}}`), policy, onlyAnnotation},
	{"another annotation changed", strategic(`{"metadata":{"annotations":{"example.com/note":"x"}}}`), policy, onlyAnnotation},
	{"Multus's annotation changed", strategic(`{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/network-status":"x"}}}`), policy, onlyAnnotation},
	{"Multus's annotation away", strategic(`{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/network-status":null}}}`), policy, onlyAnnotation},
	{"Multus's annotation away, merge patch", patch(types.MergePatchType, `{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/network-status":null}}}`), policy, onlyAnnotation},
	{"all annotations away, JSON patch", patch(types.JSONPatchType, `[{"op":"remove","path":"/metadata/annotations"}]`), policy, onlyAnnotation},
	{"another annotation, applied", patch(types.ApplyPatchType, `{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"example.com/new":"x"}}}`), policy, onlyAnnotation},

	{"label", strategic(`{"metadata":{"labels":{"app":"x"}}}`), policy, onlyMetadata},
	{"label away", strategic(`{"metadata":{"labels":{"app":null}}}`), policy, onlyMetadata},
	{"finalizer", strategic(`{"metadata":{"finalizers":["example.com/more"]}}`), policy, onlyMetadata},
	{"finalizer away", strategic(`{"metadata":{"finalizers":null}}`), policy, onlyMetadata},
	{"generateName", strategic(`{"metadata":{"generateName":"x-"}}`), policy, onlyMetadata},
	{"who set what", strategic(`{"metadata":{"managedFields":[{}]}}`), ignored, ""},
	{"owner", strategic(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"y"}]}}`), ignored, ""},
	{"deletion", strategic(`{"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z"}}`), ignored, ""},
	{"spec", strategic(`{"spec":{"containers":[{"name":"main","image":"other"}],"tolerations":[{"operator":"Exists"}]}}`), ignored, ""},

	{"condition Ready", strategic(`{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`), policy, onlyCondition},
	{"another gate's condition", strategic(`{"status":{"conditions":[{"type":"example.com/Gate","status":"True"}]}}`), policy, onlyCondition},
	{"a new condition", strategic(`{"status":{"conditions":[{"type":"example.com/New","status":"True"}]}}`), policy, onlyCondition},
	{"all conditions away", patch(types.MergePatchType, `{"status":{"conditions":null}}`), policy, onlyCondition},
	{"phase", strategic(`{"status":{"phase":"Failed"}}`), policy, onlyStatus},
	{"reason and message", strategic(`{"status":{"reason":"Evicted","message":"x"}}`), policy, onlyStatus},
	{"podIP", strategic(`{"status":{"podIP":"10.1.0.8","podIPs":[{"$patch":"replace"},{"ip":"10.1.0.8"}]}}`), policy, onlyStatus},
	{"hostIP", strategic(`{"status":{"hostIP":"192.0.2.2","hostIPs":[{"$patch":"replace"},{"ip":"192.0.2.2"}]}}`), policy, onlyStatus},
	{"start time", strategic(`{"status":{"startTime":"2026-01-02T03:04:05Z"}}`), policy, onlyStatus},
	{"observed generation", strategic(`{"status":{"observedGeneration":7}}`), policy, onlyStatus},
	{"containerStatuses", strategic(`{"status":{"containerStatuses":[{"name":"main","ready":false,"restartCount":1,"image":"none","imageID":"none"}]}}`), policy, onlyStatus},
	{"containerStatuses away", patch(types.MergePatchType, `{"status":{"containerStatuses":null}}`), policy, onlyStatus},
	{"QoS class", strategic(`{"status":{"qosClass":"Guaranteed"}}`), server, "field is immutable"},
}

// bondsPatch is the agent's usual patch.
func bondsPatch(annotation, status, reason, message string) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"status":{"conditions":[{"type":%q,"status":%q,"reason":%q,"message":%q}]}}`,
		statusv1.Annotation, annotation, statusv1.Condition, status, reason, message)
}

// strategic patches the status of the agent's own pod, as agents do.
func strategic(text string) func(context.Context, *fixture) error { return on(ownPod, text) }

// on does so with a pod of the fixture.
func on(which func(*fixture) *corev1.Pod, text string) func(context.Context, *fixture) error {
	return func(ctx context.Context, s *fixture) error {
		return patchStatus(ctx, s.agent, which(s), types.StrategicMergePatchType, text)
	}
}

func ownPod(s *fixture) *corev1.Pod   { return s.own }
func otherPod(s *fixture) *corev1.Pod { return s.other }

// patch patches the status of the agent's own pod with another patch type.
func patch(how types.PatchType, text string) func(context.Context, *fixture) error {
	return func(ctx context.Context, s *fixture) error { return patchStatus(ctx, s.agent, s.own, how, text) }
}

func patchStatus(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, how types.PatchType, text string) error {
	_, err := c.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, how, []byte(text), metav1.PatchOptions{FieldManager: "bondkeeper"}, "status")
	return err
}
