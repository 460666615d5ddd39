package podbonds

import (
	"strings"
	"testing"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func podWith(annotation string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", Annotations: map[string]string{v1.Annotation: annotation}},
		Spec:       corev1.PodSpec{NodeName: "n"},
	}
}

// TestHostileAnnotations: whatever a user writes into the annotation, its bonds are sorted and shown, without a character
// that a terminal interprets.
func TestHostileAnnotations(t *testing.T) {
	for _, annotation := range []string{
		`[{"state":"\u001b[31mReady","reason":"a\tb\nc","active":"\u202e","omitted":{"members":9223372036854775807}},{"omitted":{"bonds":-1}},null]`,
		`[{"members":[{"since":"0001-01-01T00:00:01Z","vf":-1,"pf":"\u0085"}],"warnings":["\f"],"mac":"\u000b","network":"x\u0000"}]`,
		`[{"members":[{}],"lastRepair":{"cause":"\u009b","at":"9999-01-01T00:00:00Z","tookMs":-9223372036854775808},"repairs":-1}]`,
		`{"version":"v1"}`, "[", "\x1b[2J",
	} {
		pod := podWith(annotation)
		all := Of(pod)
		Sort(all)
		var text strings.Builder
		kit.Must(t, Columns{Namespace: true, Wide: true}.Table(&text, all, time.Unix(1e9, 0)))
		e := Explanation{Pod: pod, Bonds: all}
		kit.Must(t, e.WriteText(&text, time.Unix(1e9, 0)))
		if i := strings.IndexFunc(text.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q: the output has %q", annotation, text.String()[i:min(i+8, text.Len())])
		}
	}
}

// TestLongAnnotation: an annotation that no agent writes is one line, however many bonds it has.
func TestLongAnnotation(t *testing.T) {
	all := Of(podWith("[" + strings.Repeat("{},", 80_000) + "{}]"))
	if len(all) != 1 || !strings.Contains(all[0].Problem, "240004 bytes") {
		t.Errorf("%d bonds, the first: %+v", len(all), all[0])
	}
}
