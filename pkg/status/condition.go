package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// reasonAllReady is the condition's reason if every bond is Ready. Otherwise the reason is the worst bond's state.
const reasonAllReady = "AllReady"

// maxMessage bounds the messages of the condition and of events, in bytes. An event may have 1024 (core/v1), and the
// recorder prefixes those that it merges.
const maxMessage = 960

// conditionOf returns the condition, without its time. It is True while every bond carries traffic, on however few
// members: a readiness gate that closed when one member is lost would turn a loss of redundancy into an outage.
func conditionOf(bonds []bond.Status) corev1.PodCondition {
	c := corev1.PodCondition{Type: v1.Condition, Status: corev1.ConditionTrue, Reason: reasonAllReady}
	var texts []string
	for i := range bonds {
		s := &bonds[i]
		if s.State == bond.StateReady {
			continue
		}
		texts = append(texts, describe(s))
		switch carries := carries(s); {
		case !carries && c.Status == corev1.ConditionTrue:
			c.Status, c.Reason = corev1.ConditionFalse, string(s.State)
		case carries && c.Status == corev1.ConditionFalse:
			// a bond that carries is not the reason for False
		case severity(v1.State(s.State)) > severity(v1.State(c.Reason)): // AllReady is the least severe
			c.Reason = string(s.State)
		}
	}
	if texts == nil {
		texts = []string{fmt.Sprintf("all members carry; bonds: %d", len(bonds))}
	}
	c.Message = sanitize(strings.Join(texts, "; "), maxMessage)
	return c
}

// describe returns "bond0 is Degraded: reason". Without a reason it lists the members that do not carry.
func describe(s *bond.Status) string {
	reason := s.Reason
	if reason == "" {
		var idle []string
		for i := range s.Members {
			if m := &s.Members[i]; !m.State.Carries() {
				idle = append(idle, m.Name+" is "+string(m.State))
			}
		}
		reason = strings.Join(idle, ", ")
	}
	text := s.Key.IfName + " is " + string(s.State)
	if reason != "" {
		text += ": " + reason
	}
	return text
}

// carries reports whether traffic passes through the bond, on however few members.
func carries(s *bond.Status) bool {
	if s.State == bond.StateReady {
		return true
	}
	if s.State == bond.StateDown || s.NoCarrier {
		return false // whatever the state of its members
	}
	has := func(state bond.MemberState) bool {
		return slices.ContainsFunc(s.Members, func(m bond.MemberStatus) bool { return m.State == state })
	}
	if has(bond.MemberPFDrift) && has(bond.MemberBackup) && !has(bond.MemberActive) {
		return false // the PF drops the active member's traffic, and the kernel does not know that
	}
	return slices.ContainsFunc(s.Members, func(m bond.MemberStatus) bool { return m.State.Carries() })
}
