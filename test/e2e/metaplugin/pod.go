package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"
	corev1 "k8s.io/api/core/v1"
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

var definitions = schema.GroupVersionResource{Group: "k8s.cni.cncf.io", Version: "v1", Resource: "network-attachment-definitions"}

// pod is the pod that the sandbox belongs to, as the API server has it.
type pod struct {
	*corev1.Pod
	client  kubernetes.Interface
	objects dynamic.Interface
}

// findPod reads the pod that CNI_ARGS names.
func findPod(ctx context.Context, kubeconfig, cniArgs string) (*pod, error) {
	named := map[string]string{}
	for _, pair := range strings.Split(cniArgs, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			named[k] = v
		}
	}
	rest, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
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
	if err != nil {
		return nil, err
	}
	if uid := named["K8S_POD_UID"]; uid != "" && uid != string(p.UID) {
		return nil, fmt.Errorf("pod %s/%s has UID %s, CNI_ARGS says %s", p.Namespace, p.Name, p.UID, uid)
	}
	return &pod{Pod: p, client: client, objects: objects}, nil
}

// attachments reads the definitions that the pod's annotation lists as "namespace/name@interface, ...".
func (p *pod) attachments(ctx context.Context) ([]attachment, error) {
	var all []attachment
	for i, item := range strings.Split(p.Annotations[networksAnnotation], ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, ifName, named := strings.Cut(item, "@")
		if !named {
			ifName = fmt.Sprintf("net%d", i+1)
		}
		namespace, name, found := strings.Cut(name, "/")
		if !found {
			namespace, name = p.Namespace, namespace
		}
		definition, err := p.objects.Resource(definitions).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		spec, _ := definition.Object["spec"].(map[string]any)
		config, _ := spec["config"].(string)
		all = append(all, attachment{IfName: ifName, Config: json.RawMessage(config)})
	}
	return all, nil
}

// networkStatus is an entry of the annotation network-status.
type networkStatus struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	IPs       []string `json:"ips,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	Default   bool     `json:"default,omitempty"`
}

// writeStatus writes network-status through pods/status.
func (p *pod) writeStatus(ctx context.Context, all []attachment, results []*current.Result) error {
	var entries []networkStatus
	for i, r := range results {
		e := networkStatus{Name: nameOf(all[i]), Interface: all[i].IfName, Default: i == 0}
		for _, ip := range r.IPs {
			e.IPs = append(e.IPs, ip.Address.IP.String())
		}
		for _, link := range r.Interfaces {
			if link.Name == e.Interface {
				e.MAC = link.Mac
			}
		}
		entries = append(entries, e)
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	pods := p.client.CoreV1().Pods(p.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
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
}

func nameOf(a attachment) string {
	var named struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(a.Config, &named) // libcni has read it before
	return named.Name
}
