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

// limits bound the texts of an entry, in bytes, and its lists.
type limits struct{ reason, memberReason, members, warnings int }

// measures are tried in turn until the annotation has its size: first the long texts are
// cut, then the members go. After the last one, whole bonds do.
var measures = []limits{
	{reason: 1024, memberReason: 256, members: 32, warnings: 8},
	{reason: 256, memberReason: 64, members: 32},
	{reason: 256},
}

// maxName bounds every other text; names of links and networks are shorter.
const maxName = 253

// annotation is the value of the pod's annotation: at most v1.MaxSize bytes, whatever the
// bonds say.
func annotation(bonds []bond.Status) string {
	var entries []v1.Bond
	for _, m := range measures {
		entries = entriesOf(bonds, m)
		if text := encode(entries); len(text) <= v1.MaxSize {
			return text
		}
	}
	return encode(leaveOut(entries))
}

// leaveOut sums up as many bonds as it must in a last entry; those that are well go first.
func leaveOut(entries []v1.Bond) []v1.Bond {
	order := make([]int, len(entries)) // from the first to go to the last
	for i := range order {
		order[i] = len(entries) - 1 - i
	}
	slices.SortStableFunc(order, func(a, b int) int { return severity(entries[a].State) - severity(entries[b].State) })
	// An entry of its size for the sum, and a comma for every entry.
	size := len(encode([]v1.Bond{{Version: v1.Version, State: v1.Repairing, Omitted: v1.Omissions{Bonds: len(entries)}}}))
	for _, e := range entries {
		size += len(encode([]v1.Bond{e}))
	}
	sum := v1.Bond{Version: v1.Version, State: v1.Ready}
	gone := map[int]bool{}
	for _, i := range order {
		if size <= v1.MaxSize {
			break
		}
		size -= len(encode(entries[i : i+1]))
		gone[i] = true
		sum.Omitted.Bonds++
		if severity(entries[i].State) > severity(sum.State) {
			sum.State = entries[i].State
		}
	}
	var kept []v1.Bond
	for i, e := range entries {
		if !gone[i] {
			kept = append(kept, e)
		}
	}
	return append(kept, sum)
}

func severity(s v1.State) int { return slices.Index(v1.States(), s) }

// encode is the list in JSON. '<', '>' and '&' stand as they are: nobody shows this in a web
// page without quoting it, and each would take six bytes.
func encode(entries []v1.Bond) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(entries); err != nil {
		panic("status: an annotation that cannot be marshalled: " + err.Error()) // plain data only
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
		Version: v1.Version, Interface: clean(s.Key.IfName, maxName), Network: clean(s.Network, maxName),
		State: v1.State(s.State), Reason: clean(s.Reason, l.reason), Mode: clean(s.Mode, maxName),
		MAC: clean(string(s.MAC), maxName), MTU: s.MTU, Active: clean(s.Active, maxName), Repairs: s.Repairs,
	}
	for i := range s.Members[:min(l.members, len(s.Members))] {
		e.Members = append(e.Members, memberOf(&s.Members[i], l))
	}
	for _, w := range s.Warnings[:min(l.warnings, len(s.Warnings))] {
		e.Warnings = append(e.Warnings, clean(w, l.memberReason))
	}
	e.Omitted.Members = len(s.Members) - len(e.Members)
	e.Omitted.Warnings = len(s.Warnings) - len(e.Warnings)
	if r := s.Last; r != nil {
		e.LastRepair = v1.Repair{Member: clean(r.Member, maxName), Cause: clean(r.Cause, maxName), At: moment(r.At), TookMs: r.Took}
	}
	return e
}

func memberOf(m *bond.MemberStatus, l limits) v1.Member {
	e := v1.Member{
		Name: clean(m.Name, maxName), PCI: clean(string(m.PCI), maxName), PF: clean(string(m.PF), maxName),
		State: clean(m.State, maxName), Reason: clean(m.Reason, l.memberReason), Since: moment(m.Since),
	}
	if m.PF != "" {
		e.VF = &m.VF
	}
	return e
}

// moment is a time as it is written: milliseconds are enough for a person. A year that RFC
// 3339 cannot write is no time.
func moment(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}

const ellipsis = "…"

// clean is s as it may be shown to anybody: valid UTF-8, no character that moves a cursor or
// turns the direction of text, at most size bytes. Names come from pods.
func clean(s string, size int) string {
	if len(s) > 2*size+utf8.UTFMax {
		s = s[:2*size+utf8.UTFMax] // a text of any length is not looked at as a whole
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
