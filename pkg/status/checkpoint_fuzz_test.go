package status

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
)

// FuzzCheckpoint: whatever the file of a pod contains, the result is an error that can be logged, or what was reported
// to this pod and to no other. That can be saved, and comes back as it was.
func FuzzCheckpoint(f *testing.F) {
	pod := bond.Pod{Namespace: "demo", Name: "pod", UID: "1-2"}
	l := checkpoints{f.TempDir()}
	for _, s := range []podCheckpoint{
		{Pod: pod},
		{Pod: pod, Digest: "d", Status: "True", Bonds: map[string]bondCheckpoint{"c1@bond0": {State: bond.StateReady, Repairs: 3}}},
		{Pod: bond.Pod{Namespace: "demo", Name: "other", UID: "1-2"}, NotFound: true},
	} {
		if err := l.save(s); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(l.path(s.Pod))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"bonds":{"c1@bond0":{"repairs":` + strings.Repeat("9", 5000) + `}}}`))
	f.Add([]byte(`{"pod":{"namespace":"demo","name":"` + strings.Repeat("\\u202e", 5000) + `"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(l.path(pod), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := l.load(pod)
		if s.Pod != pod {
			t.Fatalf("what was reported to %s is taken for %s's", s.Pod, pod)
		}
		if err != nil {
			bondtest.ErrorText(t, err)
			if !reflect.DeepEqual(s, podCheckpoint{Pod: pod}) {
				t.Fatalf("of a file that cannot be read there is %+v (%v)", s, err)
			}
			return
		}
		_ = (&podEntry{report: podReport{lastReported: s}}).restored()
		if err = l.save(s); err != nil {
			t.Fatal(err)
		}
		again, err := l.load(pod)
		if err != nil || !again.Since.Equal(s.Since) {
			t.Fatalf("saved as %+v, read as %+v (%v)", s, again, err)
		}
		again.Since = s.Since // in whatever time zone
		if len(s.Bonds) == 0 {
			s.Bonds = again.Bonds
		}
		if !reflect.DeepEqual(again, s) {
			t.Fatalf("saved as %+v, read as %+v", s, again)
		}
	})
}
