package status

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/kubeapi"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// api has the requests of the reporter: patches of pods/status, and events.
type api struct{ client rest.Interface }

// newAPI returns a client without a rate limit of its own. Callers wait for the limiter before they build a request, so
// that the request has the latest state.
func newAPI(c *rest.Config, timeout time.Duration, m *metrics) (*api, error) {
	c = rest.CopyConfig(c)
	c.RateLimiter, c.Timeout = flowcontrol.NewFakeAlwaysRateLimiter(), timeout
	c.ContentType, c.AcceptContentTypes = protobuf, protobuf+","+"application/json"
	if c.UserAgent == "" {
		c.UserAgent = fieldManager
	}
	c.Wrap(m.countRequests)
	client, err := kubeapi.New(c, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &api{client: client}, nil
}

const (
	fieldManager = "bondkeeper"
	protobuf     = "application/vnd.kubernetes.protobuf"
	// metadataOnly requests the pod's metadata instead of the whole pod, which is not needed.
	metadataOnly = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// precondition makes the API server reject the patch for another pod of the same name.
type precondition struct {
	UID         string            `json:"uid"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type conditions struct {
	Conditions []corev1.PodCondition `json:"conditions"`
}

// get returns the pod. It sends an empty patch, which the API server does not store: permission to read pods would
// apply to all pods.
func (a *api) get(ctx context.Context, p bond.Pod) (*corev1.Pod, error) {
	found := new(corev1.Pod)
	err := a.request(p, map[string]any{"metadata": precondition{UID: p.UID}}).Do(ctx).Into(found)
	return found, err
}

// patch writes annotation and condition and changes nothing else.
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
		panic("status: the patch cannot be marshalled: " + err.Error()) // plain data only
	}
	return a.client.Patch(types.StrategicMergePatchType).
		Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("status").
		Param("fieldManager", fieldManager).Body(data).
		MaxRetries(0) // the reporter decides, with the latest state
}

// readyTimeout bounds the check whether the API server is ready.
const readyTimeout = 5 * time.Second

// ready reports whether the API server responds to a request that no webhook receives. A cluster may give no right to
// it; a 403 is a response, too.
func (a *api) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err := a.client.Get().AbsPath("/readyz").MaxRetries(0).Do(ctx).Error()
	return err == nil || apierrors.IsForbidden(err)
}

// timedOut reports whether a request had no response within the reporter's timeout.
func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// errorClass is the class of an error of the API server, by what follows from it.
type errorClass string

const (
	// unavailable: no request can succeed now: no connection, overload, or an invalid token.
	unavailable errorClass = "unavailable"
	// notFound: no pod with that UID exists. It will not exist later either.
	notFound errorClass = "not_found"
	// rejected: the API server does not accept this patch of this pod.
	rejected errorClass = "rejected"
)

// failedWebhook is in the message of the 500 for a webhook that could not be called (ErrCallingWebhook). It may be
// called for the pods of one namespace only, so that other pods can be reported.
const failedWebhook = "failed calling webhook"

// classifyError returns the class of a failed request, and how long the server wants no further request.
func classifyError(err error) (errorClass, time.Duration) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return unavailable, 0
	}
	s := status.Status()
	seconds, _ := apierrors.SuggestsClientDelay(err)
	switch {
	case s.Code == http.StatusInternalServerError && strings.Contains(s.Message, failedWebhook):
		return rejected, 0
	case s.Code == http.StatusTooManyRequests || s.Code == http.StatusUnauthorized || s.Code >= 500:
		return unavailable, time.Duration(seconds) * time.Second
	case s.Code == http.StatusNotFound && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return unavailable, 0 // not from the API server: a proxy, or the wrong address
	case s.Code == http.StatusNotFound, otherUID(s):
		return notFound, 0
	default:
		return rejected, 0
	}
}

// otherUID reports whether the pod of that name has another UID. The API server takes the UID in a patch for an attempt
// to change it and returns 422 (ValidateObjectMetaAccessorUpdate).
func otherUID(s metav1.Status) bool {
	return s.Details != nil && slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// podReference is the involved object of an event.
func podReference(p bond.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}
}
