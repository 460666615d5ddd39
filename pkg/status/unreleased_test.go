package status_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestEventOfUnreleasedAddresses: one event per bond whose addresses remain allocated, however often it is reported,
// and no patch.
func TestEventOfUnreleasedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		b := bondOf(p, "bond0")
		r.Report(b)
		pass(5 * time.Second)
		wantCalls(t, s, 1, 1)
		b.State, b.Reason = bond.StateDeleting, "the addresses remain allocated"
		r.Report(b) // no release has failed yet
		for attempt := range 3 {
			b.Unreleased = "IPAM host-local DEL: no such file" + strings.Repeat("!", attempt)
			r.Report(b)
			pass(time.Minute)
		}
		if got := s.reasons(); !slices.Equal(got, []string{status.EventUnreleased}) {
			t.Errorf("events %q, want one", got)
		}
		if e := s.events[0]; e.Type != "Warning" || e.InvolvedObject.UID == "" || !strings.Contains(e.Message, "bond0: its addresses remain allocated") || !strings.Contains(e.Message, "no such file") {
			t.Errorf("event %+v", e)
		}
		wantCalls(t, s, 0, 0)
		r.Forget(b.Key)
		pass(time.Minute)
		r.Report(b) // another ADD and DEL of the same bond
		pass(time.Minute)
		if got := s.reasons(); len(got) != 2 {
			t.Errorf("events %q, want two", got)
		}
	})
}

// TestEventOfABusyServer: an event that the API server cannot take now is sent again, and one that it rejects is not.
func TestEventOfABusyServer(t *testing.T) {
	for reason, want := range map[metav1.StatusReason]int{metav1.StatusReasonServiceUnavailable: 1, metav1.StatusReasonForbidden: 0} {
		code := map[metav1.StatusReason]int{metav1.StatusReasonServiceUnavailable: http.StatusServiceUnavailable, metav1.StatusReasonForbidden: http.StatusForbidden}[reason]
		synctest.Test(t, func(t *testing.T) {
			s, r, p := onePod(t, t.TempDir())
			b := bondOf(p, "bond0")
			r.Report(b)
			pass(5 * time.Second)
			s.fail(rejectWith(code, reason))
			b.State, b.Unreleased = bond.StateDeleting, "IPAM whereabouts DEL: no response"
			r.Report(b)
			pass(time.Minute)
			s.fail(nil)
			pass(time.Minute)
			if got := s.reasons(); len(got) != want {
				t.Errorf("%s: events %q, want %d", reason, got, want)
			}
		})
	}
}
