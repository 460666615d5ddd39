package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
)

const (
	networksAnnotation = "k8s.v1.cni.cncf.io/networks"
	statusAnnotation   = "k8s.v1.cni.cncf.io/network-status"
)

var (
	definitions = schema.GroupVersionResource{Group: "k8s.cni.cncf.io", Version: "v1", Resource: "network-attachment-definitions"}
	errNoPod    = errors.New("the API server does not have the pod")
)

// pod is the pod that the sandbox belongs to, as the API server has it.
type pod struct {
	*corev1.Pod
	client  kubernetes.Interface
	objects dynamic.Interface
}

// findPod reads the pod that CNI_ARGS names; nil without a kubeconfig.
func (c *config) findPod(ctx context.Context, args string) (*pod, error) {
	if c.Kubeconfig == "" {
		return nil, nil
	}
	named := cniArgs(args)
	rest, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	p, err := client.CoreV1().Pods(named["K8S_POD_NAMESPACE"]).Get(ctx, named["K8S_POD_NAME"], metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errNoPod
	}
	if err != nil {
		return nil, err
	}
	if uid := named["K8S_POD_UID"]; uid != "" && uid != string(p.UID) { // M12
		return nil, fmt.Errorf("pod %s/%s has UID %s, CNI_ARGS has %s", p.Namespace, p.Name, p.UID, uid)
	}
	return &pod{Pod: p, client: client, objects: objects}, nil
}

// networks reads the definitions that the pod's annotation lists.
func (p *pod) networks(ctx context.Context) ([]*delegate, error) {
	requested, err := selections(p.Annotations[networksAnnotation])
	if err != nil {
		return nil, err
	}
	var all []*delegate
	for _, s := range requested {
		if s.Namespace == "" {
			s.Namespace = p.Namespace
		}
		definition, err := p.objects.Resource(definitions).Namespace(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		spec, _ := definition.Object["spec"].(map[string]any)
		config, _ := spec["config"].(string)
		d, err := newDelegate([]byte(config), s)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", s.Namespace, s.Name, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// selections reads the annotation in its two forms: a JSON list, or "namespace/name@interface, ...".
func selections(text string) (all []selection, err error) {
	if strings.ContainsAny(text, `[{"`) {
		if err = json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", networksAnnotation, err)
		}
		return all, nil
	}
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		var s selection
		s.Name, s.Interface, _ = strings.Cut(item, "@")
		if namespace, name, found := strings.Cut(s.Name, "/"); found {
			s.Namespace, s.Name = namespace, name
		}
		all = append(all, s)
	}
	return all, nil
}

// networkStatus is an entry of the annotation network-status.
type networkStatus struct {
	Name      string    `json:"name"`
	Interface string    `json:"interface"`
	IPs       []string  `json:"ips,omitempty"`
	MAC       string    `json:"mac,omitempty"`
	MTU       int       `json:"mtu,omitempty"`
	Default   bool      `json:"default,omitempty"`
	DNS       types.DNS `json:"dns"`
	Gateway   []string  `json:"gateway,omitempty"`
}

// statusOf is what network-status says of one network: the interface is the last one that the result has in the
// sandbox.
func statusOf(d *delegate, result types.Result) (networkStatus, error) {
	e := networkStatus{Name: d.Name, Default: d.Requested.Name == ""}
	r, err := current.NewResultFromResult(result)
	if err != nil {
		return e, err
	}
	for _, link := range r.Interfaces {
		if link.Sandbox != "" {
			e.Interface, e.MAC, e.MTU = link.Name, link.Mac, link.Mtu
		}
	}
	for _, ip := range r.IPs {
		e.IPs = append(e.IPs, ip.Address.IP.String())
	}
	for _, route := range r.Routes {
		if ones, _ := route.Dst.Mask.Size(); ones == 0 {
			e.Gateway = append(e.Gateway, route.GW.String())
		}
	}
	e.DNS = r.DNS
	return e, nil
}

// writeStatus writes the complete network-status, through pods/status. A missing pod is not an error (M6).
func (p *pod) writeStatus(ctx context.Context, entries []networkStatus) error {
	data, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	pods := p.client.CoreV1().Pods(p.Namespace)
	failed := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := pods.Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.Annotations == nil {
			now.Annotations = map[string]string{}
		}
		now.Annotations[statusAnnotation] = string(data)
		_, err = pods.UpdateStatus(ctx, now, metav1.UpdateOptions{})
		return err
	})
	if apierrors.IsNotFound(failed) {
		return nil
	}
	return failed
}
