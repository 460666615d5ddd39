//go:build kube

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/docs"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

const root = "../.."

var cp *kube.ControlPlane

func TestMain(m *testing.M) { os.Exit(kube.Main(m, &cp)) }

func bondOf(name string, state v1.State) v1.Bond {
	return v1.Bond{
		Version: v1.Version, Interface: name, Network: "okd", State: state, Mode: "active-backup", MAC: "02:00:00:00:00:01", MTU: 1500, Active: "net1", Repairs: 2,
		Members: []v1.Member{
			{Name: "net1", PCI: "0000:01:10.0", PF: "0000:01:00.0", VF: new(3), State: "active"},
			{Name: "net2", PCI: "0000:02:10.0", State: "backup"},
		},
		LastRepair: v1.Repair{Member: "net2", Cause: "MemberLost", At: time.Now().Add(-time.Hour), TookMs: 412},
	}
}

func lost(b v1.Bond) v1.Bond {
	b.State, b.Reason = v1.Degraded, "net2 (0000:02:10.0) is in neither the pod nor the host"
	b.Members[1].State, b.Members[1].Since, b.Members[1].Reason = "lost", time.Now().Add(-90*time.Second), b.Reason
	return b
}

// annotate sets the annotation of a pod, or any other text in its place.
func annotate(t *testing.T, pod *corev1.Pod, text string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1.Annotation: text}}})
	kit.Must(t, err)
	_, err = cp.Client().CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	kit.Must(t, err)
}

func podWith(t *testing.T, namespace, name string, bonds ...v1.Bond) *corev1.Pod {
	t.Helper()
	pod := cp.Pod(t, namespace, name, "node-a")
	t.Cleanup(func() {
		if err := cp.Client().CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	text, err := json.Marshal(bonds)
	kit.Must(t, err)
	annotate(t, pod, string(text))
	return pod
}

func start(ctx context.Context, out *kit.Output, args ...string) error {
	cmd := newCommand()
	cmd.SetArgs(append(args, "--kubeconfig", cp.Kubeconfig()))
	cmd.SetOut(out)
	return cmd.ExecuteContext(ctx)
}

func prints(t *testing.T, args ...string) string {
	t.Helper()
	var out kit.Output
	if err := start(t.Context(), &out, args...); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String()
}

// words are the first words of each line, but the head.
func words(text string, n int) (all []string) {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if i > 0 {
			fields := strings.Fields(line)
			all = append(all, strings.Join(fields[:min(n, len(fields))], " "))
		}
	}
	return all
}

// TestList: the worst first, in every format, of the selected namespaces and labels.
func TestList(t *testing.T) {
	podWith(t, "list-a", "fine", bondOf("bond0", v1.Ready), lost(bondOf("bond1", v1.Degraded)))
	annotate(t, podWith(t, "list-a", "odd"), "{not json")
	down := podWith(t, "list-b", "down", bondOf("bond0", v1.Down))
	cp.Pod(t, "list-b", "without", "node-a")
	_, err := cp.Kubectl(t.Context(), "label", "pod", "-n", down.Namespace, down.Name, "app=web")
	kit.Must(t, err)
	all := []string{"list-a odd - Unknown", "list-b down bond0 Down", "list-a fine bond1 Degraded", "list-a fine bond0 Ready"}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"-A"}, all},
		{[]string{"-A", "-o", "wide"}, all},
		{[]string{"-A", "-l", "app=web"}, all[1:2]},
		{[]string{"-n", "list-a"}, []string{"odd - Unknown", "fine bond1 Degraded", "fine bond0 Ready"}},
	} {
		text := prints(t, c.args...)
		if got := words(text, len(strings.Fields(c.want[0]))); strings.Join(got, "; ") != strings.Join(c.want, "; ") {
			t.Errorf("%q: %q, want %q\n%s", c.args, got, c.want, text)
		}
	}
	text := prints(t, "-n", "list-a", "-o", "wide")
	for _, want := range []string{"1m3", "1/2", "2/2", "active-backup", "net2 (0000:02:10.0) is in neither", "annotation bondkeeper.io/bonds is damaged"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var bonds []struct {
		Pod, Interface string
		State          v1.State
	}
	kit.Must(t, json.Unmarshal([]byte(prints(t, "-n", "list-b", "-o", "json")), &bonds))
	if len(bonds) != 1 || bonds[0].Pod != "down" || bonds[0].Interface != "bond0" || bonds[0].State != v1.Down {
		t.Errorf("JSON: %+v", bonds)
	}
	if text = prints(t, "-n", "list-b", "-o", "yaml"); !strings.Contains(text, "pod: down") || !strings.Contains(text, "interface: bond0") {
		t.Errorf("YAML:\n%s", text)
	}
}

func TestExplain(t *testing.T) {
	pod := podWith(t, "explain", "p", lost(bondOf("bond0", v1.Degraded)))
	for _, source := range []string{v1.EventSource, "other"} {
		_, err := cp.Client().CoreV1().Events(pod.Namespace).Create(t.Context(), &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: "e-" + source},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Reason:         "BondDegraded", Message: "said by " + source, Type: corev1.EventTypeWarning, LastTimestamp: metav1.Now(),
			Source: corev1.EventSource{Component: source}, ReportingController: source, ReportingInstance: "node-a",
		}, metav1.CreateOptions{})
		kit.Must(t, err)
	}
	text := prints(t, "explain", "p", "-n", "explain")
	for _, want := range []string{
		"Pod explain/p on node node-a", "Bond bond0: Degraded (mode active-backup", "reason: net2 (0000:02:10.0) is in neither",
		"VF 3 of 0000:01:00.0", "net2     lost     1m3", "2 repairs; last: net2 after MemberLost, 1h0m", "BondDegraded: said by bondkeeper", "/agent explain explain/p",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "said by other") {
		t.Errorf("an event of another program:\n%s", text)
	}
	cp.Pod(t, "explain", "none", "node-a")
	if text = prints(t, "explain", "none", "-n", "explain"); !strings.Contains(text, "has no annotation bondkeeper.io/bonds") {
		t.Errorf("a pod without bonds:\n%s", text)
	}
	if err := start(t.Context(), new(kit.Output), "explain", "absent", "-n", "explain"); err == nil || !strings.Contains(err.Error(), `"absent" not found`) {
		t.Errorf("a pod that does not exist: %v", err)
	}
}

// TestWatch: a row per change of a pod's bonds, and none for other changes of the pod.
func TestWatch(t *testing.T) {
	pod := podWith(t, "watch", "p", bondOf("bond0", v1.Ready))
	ctx, cancel := context.WithCancel(t.Context())
	var out kit.Output
	done := make(chan error)
	go func() { done <- start(ctx, &out, "-n", "watch", "-w") }()
	rows := func() []string { return words(out.String(), 3) }
	await := func(want ...string) {
		t.Helper()
		kit.Eventually(t, "rows "+strings.Join(want, ", "), func() bool { return strings.Join(rows(), ", ") == strings.Join(want, ", ") }, out.String)
	}
	await("p bond0 Ready")
	_, err := cp.Kubectl(t.Context(), "label", "pod", "-n", "watch", "p", "x=y")
	kit.Must(t, err)
	for _, state := range []v1.State{v1.Down, v1.Ready} {
		text, err := json.Marshal([]v1.Bond{bondOf("bond0", state)})
		kit.Must(t, err)
		annotate(t, pod, string(text))
	}
	await("p bond0 Ready", "p bond0 Down", "p bond0 Ready")
	cancel()
	kit.Must(t, <-done)
}

// buildPlugin puts the program into a directory of PATH.
func buildPlugin(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "make", "-C", root, "kubectl-plugin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	kit.Must(t, err)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// TestPlugin: kubectl finds the program that make kubectl-plugin builds, and passes flags and the exit status on.
func TestPlugin(t *testing.T) {
	podWith(t, "plugin", "p", bondOf("bond0", v1.Stuck))
	buildPlugin(t)
	text, err := cp.Kubectl(t.Context(), "bonds", "-n", "plugin")
	kit.Must(t, err)
	if !strings.Contains(text, "Stuck") {
		t.Errorf("kubectl bonds:\n%s", text)
	}
}

// TestUsage: every wrong command line has the exit status 1, as kubectl's own commands.
func TestUsage(t *testing.T) {
	buildPlugin(t)
	for _, args := range [][]string{{"-o", "xml"}, {"--nonsense"}, {"-w", "-o", "json"}, {"web-0"}, {"explain"}, {"explain", "a", "b"}, {"explain", "a", "--nonsense"}} {
		text, err := cp.Kubectl(t.Context(), append([]string{"bonds"}, args...)...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.HasPrefix(text, "error: ") {
			t.Errorf("kubectl bonds %q: %v, want an error and the exit status 1:\n%s", args, err, text)
		}
	}
	if _, err := cp.Kubectl(t.Context(), "get", "--nonsense"); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("kubectl get --nonsense: %v", err)
	}
}

// reported is a pod with a lost member as the agent reports it: annotation, condition and event.
func reported(t *testing.T, namespace, name string) {
	t.Helper()
	pod := podWith(t, namespace, name, lost(bondOf("bond0", v1.Degraded)))
	pods := cp.Client().CoreV1().Pods(namespace)
	_, err := cp.Kubectl(t.Context(), "label", "pod", "-n", namespace, name, "app=web")
	kit.Must(t, err)
	status := `{"status":{"conditions":[{"type":"` + v1.Condition + `","status":"True","reason":"Degraded","message":"net2 is lost"}]}}`
	_, err = pods.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	kit.Must(t, err)
	_, err = cp.Client().CoreV1().Events(namespace).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "e-" + string(pod.UID)},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: name, UID: pod.UID},
		Reason:         "BondDegraded", Message: "net2 is lost", Type: corev1.EventTypeWarning, LastTimestamp: metav1.Now(),
		Source: corev1.EventSource{Component: v1.EventSource}, ReportingController: v1.EventSource, ReportingInstance: "node-a",
	}, metav1.CreateOptions{})
	kit.Must(t, err)
}

// named are the variables in the documents' commands.
var named = map[string]string{"NS": "demo", "POD": "web-0"}

// TestDocumentedPluginCommands: the commands of this plugin in the documents print the pod that they name.
func TestDocumentedPluginCommands(t *testing.T) {
	reported(t, "demo", "web-0")
	all, err := docs.CommandsOf(root, "kubectl-bonds")
	kit.Must(t, err)
	run := 0
	for _, c := range all {
		if c.Inline {
			continue
		}
		run++
		ctx, cancel := context.WithCancel(t.Context())
		var out kit.Output
		done := make(chan error, 1)
		var args []string
		for _, w := range c.Words[1:] {
			args = append(args, os.Expand(w, func(name string) string { return named[name] }))
		}
		go func() { done <- start(ctx, &out, args...) }()
		kit.Eventually(t, c.String(), func() bool { return strings.Contains(out.String(), "web-0") || len(done) > 0 })
		cancel() // what watches ends now
		if err := <-done; !strings.Contains(out.String(), "web-0") {
			t.Errorf("%s: %v\n%s", c, err, out.String())
		}
	}
	if run < 3 {
		t.Errorf("ran %d commands", run)
	}
}

// TestDocumentedOneLiners: the lines of kubectl get in the documents work, with their pipes. Those about pods and
// events print the pod.
func TestDocumentedOneLiners(t *testing.T) {
	reported(t, "demo", "web-0")
	pages, err := docs.Pages(root)
	kit.Must(t, err)
	bin, err := filepath.Abs(filepath.Join(root, ".cache/kube/bin"))
	kit.Must(t, err)
	run := 0
	for _, p := range pages {
		for _, b := range p.Blocks() {
			for line := range strings.Lines(b.Text) {
				line = strings.TrimSpace(line)
				if b.Lang != "sh" || !strings.HasPrefix(line, "kubectl get ") {
					continue
				}
				run++
				bash := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", line)
				bash.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+cp.Kubeconfig(), "NS="+named["NS"], "POD="+named["POD"])
				text, err := bash.CombinedOutput()
				row := regexp.MustCompile("(?m)^.*web-0.*$").FindString(string(text))
				aboutPods := regexp.MustCompile("^kubectl get (pod|event)").MatchString(line)
				if err != nil || aboutPods && row == "" || strings.Contains(row, "<none>") {
					t.Errorf("%s: %s: %v\n%s", b, line, err, text)
				}
			}
		}
	}
	if run < 4 {
		t.Errorf("ran %d lines", run)
	}
}
