package status

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// limits bounds the texts of an entry, in bytes, and its lists.
type limits struct{ reason, memberReason, members, warnings int }

// truncationSteps are tried in order until the annotation fits: first long texts are shortened, then members are left
// out. If it is still too long, omitBonds leaves out whole bonds.
var truncationSteps = []limits{
	{reason: 1024, memberReason: 256, members: 32, warnings: 8},
	{reason: 256, memberReason: 64, members: 32},
	{reason: 256},
}

// maxName bounds every other text; names of links and networks are shorter.
const maxName = 253

// annotation returns the value of the pod's annotation, at most v1.MaxSize bytes.
func annotation(bonds []bond.Status) string {
	var entries []v1.Bond
	for _, m := range truncationSteps {
		entries = entriesOf(bonds, m)
		if text := encode(entries); len(text) <= v1.MaxSize {
			return text
		}
	}
	return encode(omitBonds(entries))
}

// omitBonds replaces as many bonds as necessary by one last entry with their number. Healthy bonds are omitted first.
func omitBonds(entries []v1.Bond) []v1.Bond {
	order := make([]int, len(entries)) // the first one is omitted first
	for i := range order {
		order[i] = len(entries) - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return severity(entries[a].State) - severity(entries[b].State) })
	// One entry for the omitted bonds, and one comma per entry.
	size := len(encode([]v1.Bond{{Version: v1.Version, State: v1.Repairing, Omitted: v1.Omissions{Bonds: len(entries)}}}))
	for _, e := range entries {
		size += len(encode([]v1.Bond{e}))
	}
	sum := v1.Bond{Version: v1.Version, State: v1.Ready}
	omitted := map[int]bool{}
	for _, i := range order {
		if size <= v1.MaxSize {
			break
		}
		size -= len(encode(entries[i : i+1]))
		omitted[i] = true
		sum.Omitted.Bonds++
		if severity(entries[i].State) > severity(sum.State) {
			sum.State = entries[i].State
		}
	}
	var bonds []v1.Bond
	for i, e := range entries {
		if !omitted[i] {
			bonds = append(bonds, e)
		}
	}
	return append(bonds, sum)
}

func severity(s v1.State) int { return slices.Index(v1.States(), s) }

// encode returns the list as JSON. '<', '>' and '&' are not escaped: each would take six bytes, and web pages quote
// them anyway.
func encode(entries []v1.Bond) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(entries); err != nil {
		panic("status: the annotation cannot be marshalled: " + err.Error()) // plain data only
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func entriesOf(bonds []bond.Status, l limits) []v1.Bond {
	entries := make([]v1.Bond, len(bonds))
	for i := range bonds {
		entries[i] = entryOf(&bonds[i], l)
	}
	return entries
}

func entryOf(s *bond.Status, l limits) v1.Bond {
	e := v1.Bond{
		Version: v1.Version, Interface: sanitize(s.Key.IfName, maxName), Network: sanitize(s.Network, maxName),
		State: v1.State(s.State), Reason: sanitize(s.Reason, l.reason), Mode: sanitize(s.Mode, maxName),
		MAC: sanitize(string(s.MAC), maxName), MTU: s.MTU, Active: sanitize(s.Active, maxName), Repairs: s.Repairs,
	}
	if a := s.Aggregator; a != nil {
		e.Aggregator = &v1.Aggregator{ID: a.ID, Ports: a.Ports, Partner: sanitize(string(a.Partner), maxName)}
	}
	for i := range s.Members[:min(l.members, len(s.Members))] {
		e.Members = append(e.Members, memberOf(&s.Members[i], l))
	}
	for _, w := range s.Warnings[:min(l.warnings, len(s.Warnings))] {
		e.Warnings = append(e.Warnings, sanitize(w, l.memberReason))
	}
	e.Omitted.Members = len(s.Members) - len(e.Members)
	e.Omitted.Warnings = len(s.Warnings) - len(e.Warnings)
	if r := s.Last; r != nil {
		e.LastRepair = v1.Repair{Member: sanitize(r.Member, maxName), Cause: sanitize(r.Cause, maxName), At: timestamp(r.At), TookMs: r.Took}
	}
	return e
}

func memberOf(m *bond.MemberStatus, l limits) v1.Member {
	e := v1.Member{
		Name: sanitize(m.Name, maxName), PCI: sanitize(string(m.PCI), maxName), PF: sanitize(string(m.PF), maxName),
		State: sanitize(string(m.State), maxName), Reason: sanitize(m.Reason, l.memberReason), Since: timestamp(m.Since),
	}
	if m.PF != "" {
		e.VF = &m.VF
	}
	return e
}

// timestamp returns t in UTC with milliseconds, or the zero time if RFC 3339 cannot express its year.
func timestamp(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}

const ellipsis = "…"

// sanitize returns s as valid UTF-8 of at most size bytes, without characters that move a cursor or change the text's
// direction. Names come from pods.
func sanitize(s string, size int) string {
	if len(s) > 2*size+utf8.UTFMax {
		s = s[:2*size+utf8.UTFMax] // so that the cost does not depend on the length
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	if len(s) <= size {
		return s
	}
	cut := max(0, size-len(ellipsis))
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}
