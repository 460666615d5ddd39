package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// reasonAllReady is the condition's reason when every bond is Ready; otherwise the reason is
// the worst bond's state.
const reasonAllReady = "AllReady"

// maxMessage bounds the messages of the condition and of events, in bytes: an event may have 1024 (core/v1), and the
// recorder puts some words before those that it merges.
const maxMessage = 960

// conditionOf is True while every bond carries traffic. A bond that lost one of two legs
// carries: a readiness gate that closed then would turn a loss of redundancy into an outage.
// The time is left to the caller.
func conditionOf(bonds []bond.Status) corev1.PodCondition {
	c := corev1.PodCondition{Type: v1.Condition, Status: corev1.ConditionTrue, Reason: reasonAllReady}
	var texts []string
	for i := range bonds {
		s := &bonds[i]
		if s.State == bond.StateReady {
			continue
		}
		texts = append(texts, sentence(s))
		switch carries := carries(s); {
		case !carries && c.Status == corev1.ConditionTrue:
			c.Status, c.Reason = corev1.ConditionFalse, string(s.State)
		case carries && c.Status == corev1.ConditionFalse:
			// what carries is not why the condition is False
		case severity(v1.State(s.State)) > severity(v1.State(c.Reason)): // AllReady is below all
			c.Reason = string(s.State)
		}
	}
	if texts == nil {
		texts = []string{fmt.Sprintf("all members carry; bonds: %d", len(bonds))}
	}
	c.Message = clean(strings.Join(texts, "; "), maxMessage)
	return c
}

// sentence is "bond0 is Degraded: why"; without a reason, the members that do not carry.
func sentence(s *bond.Status) string {
	why := s.Reason
	if why == "" {
		var idle []string
		for i := range s.Members {
			if m := &s.Members[i]; !carrying(m) {
				idle = append(idle, m.Name+" is "+m.State)
			}
		}
		why = strings.Join(idle, ", ")
	}
	text := s.Key.IfName + " is " + string(s.State)
	if why != "" {
		text += ": " + why
	}
	return text
}

func carrying(m *bond.MemberStatus) bool {
	return m.State == "active" || m.State == "backup" || m.State == "up"
}

// carries says that traffic passes through the bond, on however few members.
func carries(s *bond.Status) bool {
	if s.State == bond.StateReady {
		return true
	}
	if s.State == bond.StateDown {
		return false // whatever its members say: the bond itself may be down
	}
	return slices.ContainsFunc(s.Members, func(m bond.MemberStatus) bool { return carrying(&m) })
}
