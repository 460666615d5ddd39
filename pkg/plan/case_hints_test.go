package plan_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// caseHints is the section "hints": what the engine knows and the planner cannot observe.
type caseHints struct {
	FirstDEL bool `json:"firstDEL"`
	Stopping bool `json:"stopping"`
	// Net1 and Net2 are "overdue" or "bounced": what was done about the missing carrier so far.
	Net1 string `json:"net1"`
	Net2 string `json:"net2"`
	// Failed are actions that wait for their retry: "net1 SetUp", "bond address 10.56.217.66/24".
	Failed []string `json:"failed"`
	// Insists are settings on which another writer insists: "the MTU".
	Insists []string `json:"insists"`

	members []plan.Hint
}

func readHints(text []byte, rec *bond.Record) (*caseHints, error) {
	h := &caseHints{}
	if err := decode(text, h); err != nil {
		return nil, err
	}
	for i, hint := range []string{h.Net1, h.Net2} {
		if i < len(rec.Members) && hint != "" {
			h.members = append(h.members, make([]plan.Hint, i+1-len(h.members))...)
			h.members[i] = plan.Hint{Overdue: hint == "overdue", Bounced: hint == "bounced"}
		}
		if !slices.Contains([]string{"", "overdue", "bounced"}, hint) {
			return nil, fmt.Errorf("no hint %q", hint)
		}
	}
	return h, nil
}

func (h *caseHints) input(rec *bond.Record, obs bond.Observed) plan.Input {
	return plan.Input{Record: rec, Observed: obs, Hints: h.members, FirstDEL: h.FirstDEL, Stopping: h.Stopping}
}

// adopt adopts the other writer's values, and returns them.
func (h *caseHints) adopt(rec *bond.Record, obs *bond.Observed, actions []plan.Action) (string, error) {
	var all []string
	for _, setting := range h.Insists {
		i := slices.IndexFunc(actions, func(a plan.Action) bool { return plan.Contestable(a) == setting })
		if i < 0 {
			return "", fmt.Errorf("no action restores %q", setting)
		}
		all = append(all, strings.TrimSpace(setting+": "+plan.Adopt(rec, obs, actions[i])))
	}
	return joined(all), nil
}

// due are the actions to try while others wait for their retry.
func (h *caseHints) due(rec *bond.Record, p *plan.Plan) (string, error) {
	if len(h.Failed) == 0 {
		return "", nil
	}
	name := func(a plan.Action) string { return subjectOf(rec, a.Subject()) + " " + plan.Kind(a) }
	for _, failed := range h.Failed {
		if !slices.ContainsFunc(p.Actions, func(a plan.Action) bool { return name(a) == failed }) {
			return "", fmt.Errorf("no action %q is planned", failed)
		}
	}
	var all []string
	for _, a := range plan.Unblocked(p.Actions, func(a plan.Action) bool { return slices.Contains(h.Failed, name(a)) }) {
		all = append(all, name(a))
	}
	if len(all) == 0 {
		return "nothing\n", nil
	}
	return joined(all), nil
}
