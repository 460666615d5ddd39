package bondtest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// MaxErrorText bounds the text of an error about input from outside, in bytes. It is logged, and is part of a pod's
// status.
const MaxErrorText = 1 << 10

// ErrorText fails the test if the text of err is too long for a log line, or could write to a terminal.
func ErrorText(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		Text(t, err.Error(), MaxErrorText)
	}
}

// Text fails the test if a text has more than size bytes, or an unprintable character.
func Text(t testing.TB, text string, size int) {
	t.Helper()
	if len(text) > size {
		t.Fatalf("text of %d bytes, want %d at most: %q…", len(text), size, text[:size/4])
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }
	if i := strings.IndexFunc(text, unprintable); i >= 0 || !utf8.ValidString(text) {
		t.Fatalf("unprintable text: %q", text)
	}
}

// RoundTrip fails the test if a record with what was learned from the kernel is not the same after it was saved and
// loaded. The agent would then save the record with each reconcile.
func RoundTrip(t testing.TB, l *bond.Learned) {
	t.Helper()
	r := &bond.Record{
		Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, Phase: bond.PhaseReady, Sandbox: bond.Sandbox{Path: "/run/netns/a", Inode: 1},
		Learned: l,
	}
	again := new(bond.Record)
	data, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(data, again)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Learned, r.Learned) {
		t.Fatalf("learned %+v, and after a restart %+v", r.Learned, again.Learned)
	}
	if err := again.Validate(); err != nil {
		t.Fatalf("learned %+v makes the record invalid: %v", r.Learned, err)
	}
}
