package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// api is what the reporter asks of the API server: to patch pods/status, and to write events.
type api struct{ client *typedv1.CoreV1Client }

// newAPI makes a client that holds nothing back: who sends something waits for the limiter
// before, so that what is sent is not older than the wait.
func newAPI(c *rest.Config, timeout time.Duration) (*api, error) {
	c = rest.CopyConfig(c)
	c.RateLimiter, c.Timeout = flowcontrol.NewFakeAlwaysRateLimiter(), timeout
	c.ContentType, c.AcceptContentTypes = protobuf, protobuf+","+"application/json"
	if c.UserAgent == "" {
		c.UserAgent = fieldManager
	}
	client, err := typedv1.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	return &api{client: client}, nil
}

const (
	fieldManager = "bondkeeper"
	protobuf     = "application/vnd.kubernetes.protobuf"
	// metadataOnly asks for a pod's metadata instead of the whole pod, which nobody reads.
	metadataOnly = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// precondition makes the API server refuse the patch for another pod of the same name.
type precondition struct {
	UID         string            `json:"uid"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type conditions struct {
	Conditions []corev1.PodCondition `json:"conditions"`
}

// look is the pod as it stands. It is a patch of nothing, which the API server does not
// store: the right to read pods would be one on all pods.
func (a *api) look(ctx context.Context, p bond.Pod) (*corev1.Pod, error) {
	found := new(corev1.Pod)
	err := a.request(p, map[string]any{"metadata": precondition{UID: p.UID}}).Do(ctx).Into(found)
	return found, err
}

// patch writes annotation and condition, and leaves everything else on the pod alone.
func (a *api) patch(ctx context.Context, p bond.Pod, annotation string, c corev1.PodCondition) error {
	body := map[string]any{
		"metadata": precondition{UID: p.UID, Annotations: map[string]string{v1.Annotation: annotation}},
		"status":   conditions{[]corev1.PodCondition{c}},
	}
	accept := protobuf + metadataOnly + ",application/json" + metadataOnly
	return a.request(p, body).SetHeader("Accept", accept).Do(ctx).Error()
}

func (a *api) request(p bond.Pod, body any) *rest.Request {
	data, err := json.Marshal(body)
	if err != nil {
		panic("status: a patch that cannot be marshalled: " + err.Error()) // plain data only
	}
	return a.client.RESTClient().Patch(types.StrategicMergePatchType).
		Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("status").
		Param("fieldManager", fieldManager).Body(data).
		MaxRetries(0) // the reporter decides, with the latest state
}

// fault is what an error of the API server means for what comes next.
type fault string

const (
	// away: nobody can be told anything now: no connection, overload, no valid token.
	away fault = "away"
	// gone: there is no pod of that UID, and never will be.
	gone fault = "gone"
	// refused: this pod cannot be told this.
	refused fault = "refused"
)

// classify says what a failed request means, and how long the server asks to be left alone.
func classify(err error) (fault, time.Duration) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return away, 0
	}
	s := status.Status()
	seconds, _ := apierrors.SuggestsClientDelay(err)
	switch {
	case s.Code == http.StatusTooManyRequests || s.Code == http.StatusUnauthorized || s.Code >= 500:
		return away, time.Duration(seconds) * time.Second
	case s.Code == http.StatusNotFound && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return away, 0 // not the API server's word on a pod: a proxy, or the wrong address
	case s.Code == http.StatusNotFound, otherUID(s):
		return gone, 0
	default:
		return refused, 0
	}
}

// otherUID says that the pod of that name has another UID. The API server takes the UID in a
// patch for an attempt to change it, and answers 422 (ValidateObjectMetaAccessorUpdate).
func otherUID(s metav1.Status) bool {
	return s.Details != nil && slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// reference names the pod in an event.
func reference(p bond.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}
}
