package display

import (
	"strconv"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cli"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// Explanation is why a bond has its state: what is desired and observed, what was found, and what a reconcile would do.
// Its field names in JSON are for programs and do not change their meaning.
type Explanation struct {
	Status bond.Status `json:"status"`
	// Compared are the properties of the bond and its members, desired and observed.
	Compared []Compared `json:"compared"`
	Findings []Finding  `json:"findings"`
	// Verdict is "converged", "act", "wait" or "stuck". Plan are the changes that a reconcile would make now. A running
	// agent may wait before it repeats one that failed.
	Verdict string `json:"verdict"`
	Plan    []Step `json:"plan"`
	// Losses are those that are not repaired yet. Repairs are the last ones that succeeded, the oldest first.
	Losses  []Loss        `json:"losses"`
	Repairs []bond.Repair `json:"repairs"`
	// SetUp is when the pod's set-up was found to be complete, and by what evidence; zero before.
	SetUp    time.Time `json:"setUp,omitzero"`
	Evidence string    `json:"evidence,omitempty"`
}

// Compared is one property. Subject is empty for the bond itself.
type Compared struct {
	Subject  string `json:"subject,omitempty"`
	Property string `json:"property"`
	Desired  string `json:"desired"`
	Observed string `json:"observed"`
	Differs  bool   `json:"differs"`
}

// Finding is a deviation from the record, with its explanation. Member is empty for the bond itself.
type Finding struct {
	Member  string    `json:"member,omitempty"`
	Code    plan.Code `json:"code"`
	Text    string    `json:"text"`
	Meaning string    `json:"meaning"`
	ToDo    string    `json:"toDo"`
}

// Step is one change in the kernel, and the finding that it follows from.
type Step struct {
	Action  string `json:"action"`
	Because string `json:"because,omitempty"`
}

// Loss is one that is not repaired yet. Member is empty for the bond itself.
type Loss struct {
	// ID is in all log lines and events about the loss.
	ID     string    `json:"id,omitempty"`
	Member string    `json:"member,omitempty"`
	Cause  string    `json:"cause"`
	Since  time.Time `json:"since"`
}

// Explain explains the outcome of an inspection.
func Explain(o *reconcile.Outcome) Explanation {
	r := o.Record
	e := Explanation{
		Status: o.Status, Compared: compare(r, &o.Observed), Verdict: string(o.Plan.Verdict), SetUp: r.Setup.Complete, Evidence: r.Setup.Evidence,
		Findings: []Finding{}, Plan: []Step{}, Losses: []Loss{}, Repairs: r.Repairs.Recent,
	}
	for _, f := range o.Plan.Findings {
		a := f.Code.Advice()
		name := ""
		if f.Member != plan.OnBond {
			name = r.Members[f.Member].Name
		}
		e.Findings = append(e.Findings, Finding{Member: name, Code: f.Code, Text: f.Text, Meaning: a.Meaning, ToDo: a.Action})
	}
	for i, a := range o.Plan.Actions {
		e.Plan = append(e.Plan, Step{Action: a.String(), Because: o.Plan.Cause(i)})
	}
	if loss, open := r.Repairs.Open[""]; open {
		e.Losses = append(e.Losses, Loss{ID: loss.ID, Cause: loss.Cause, Since: loss.Since})
	}
	for i := range r.Members {
		if loss, open := r.Repairs.Open[r.Members[i].Name]; open {
			e.Losses = append(e.Losses, Loss{ID: loss.ID, Member: r.Members[i].Name, Cause: loss.Cause, Since: loss.Since})
		}
	}
	if e.Repairs == nil {
		e.Repairs = []bond.Repair{}
	}
	return e
}

// comparison collects properties.
type comparison struct {
	subject string
	all     []Compared
}

func (c *comparison) add(property, desired, observed string, differs bool) {
	c.all = append(c.all, Compared{c.subject, property, desired, observed, differs})
}

// same adds a property that must be equal, unless nothing is desired.
func (c *comparison) same(property, desired, observed string) {
	c.add(property, cli.Dash(desired), cli.Dash(observed), desired != "" && desired != observed)
}

func compare(r *bond.Record, o *bond.Observed) []Compared {
	c := &comparison{}
	c.add("netns", "exists", exists(o.SandboxAlive), !o.SandboxAlive)
	if !o.SandboxAlive {
		return c.all
	}
	if b := o.Bond; b == nil {
		c.add("bond", "exists", exists(false), true)
	} else {
		c.bond(r, b)
	}
	for i := range r.Members {
		c.member(&r.Members[i], o, i)
	}
	return c.all
}

func exists(yes bool) string {
	if yes {
		return "exists"
	}
	return "missing"
}

func (c *comparison) bond(r *bond.Record, b *bond.ObservedBond) {
	spec := &r.Spec
	c.same("name", r.BondName(), b.Name)
	desired := spec.Options.Effective()
	for _, name := range desired.Names() {
		want, have := desired[name], b.Options[name]
		// activeSlave applies at first only. An option that is not reported is unknown, or its link is not enslaved.
		c.add(string(name), want, cli.Dash(have), have != want && have != "" && name != bond.OptActiveSlave)
	}
	// In the other modes it is that of one member, and may change with the active member.
	c.add("MAC", cli.Dash(string(spec.MAC)), cli.Dash(string(b.MAC)), spec.Options.SharesMAC() && spec.MAC != "" && b.MAC != spec.MAC)
	c.same("MTU", number(spec.MTU), number(b.MTU))
	c.same("admin state", "up", upOrDown(b.Up))
	c.same("carrier", "up", upOrDown(b.Carrier))
	if b.Unread != "" {
		c.add("addresses and routes", strconv.Itoa(len(r.Addresses)+len(r.Routes)), "not read: "+b.Unread, false)
		return
	}
	have := map[string]bool{}
	for _, p := range b.Addresses {
		have[p.String()] = true
	}
	for _, a := range r.Addresses {
		c.same("address "+a.Prefix.String(), "exists", exists(have[a.Prefix.String()]))
	}
	for _, route := range r.Routes {
		c.same("route "+route.String(), "exists", exists(plan.HasRoute(b, route)))
	}
}

func (c *comparison) member(m *bond.Member, o *bond.Observed, i int) {
	have := &o.Members[i]
	c.subject = m.Name
	if m.Unidentified {
		c.add("identity", "-", "not known", true)
		return
	}
	c.same("location", string(bond.InPod), string(have.Location))
	if have.Location == bond.Lost {
		return
	}
	c.same("name", m.Name, have.Link.Name)
	enslaved := "enslaved"
	if !o.Enslaved(i) {
		enslaved = "not enslaved"
	}
	c.same("membership", "enslaved", enslaved)
	c.same("admin state", "up", upOrDown(have.Link.Up))
	c.same("carrier", "up", upOrDown(have.Link.Carrier))
	c.add("MAC", cli.Dash(string(m.MAC)), cli.Dash(string(have.Link.MAC)), false) // which one is right depends on mode and bond
	sameOption(c, "queueId", m.QueueID, have.QueueID)
	sameOption(c, "prio", m.Prio, have.Prio)
	sameOption(c, "actorPortPrio", m.ActorPortPrio, have.ActorPortPrio)
}

// sameOption compares an option of a member, if it is requested and the kernel reports it.
func sameOption[T uint16 | int32](c *comparison, name string, want, have *T) {
	if want != nil && have != nil {
		c.same(name, strconv.Itoa(int(*want)), strconv.Itoa(int(*have)))
	}
}

// number is a number, empty for 0.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func upOrDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}
