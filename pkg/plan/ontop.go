package plan

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// reportLinksOnTop reports the links that the kernel deleted with an earlier bond and that are still missing. The record
// has their names only, so they are not restored.
func (b *builder) reportLinksOnTop() {
	l, o := b.rec.Learned, b.obs.Bond
	if l == nil || !o.OnTopKnown || l.OnTopOf == o.Index {
		return
	}
	if missing := missingOnTop(l, o); len(missing) > 0 {
		b.report(OnBond, LinksMissing, "links on top of the bond are missing since it was re-created: %s; recreate them in the pod, or recreate the pod", firstOf(missing))
	}
}

// missingOnTop returns the recorded links that are not on top of the bond. A pod can have created very many.
func missingOnTop(l *bond.Learned, o *bond.ObservedBond) (missing []string) {
	there := make(map[string]bool, len(o.OnTop))
	for _, name := range o.OnTop {
		there[name] = true
	}
	for _, name := range l.OnTop {
		if !there[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// linksOnTop returns the links on top of the bond to record. Those that its own bond lost were deleted by their creator.
// Those of an earlier bond are kept until all are back.
func linksOnTop(old *bond.Learned, o *bond.ObservedBond) (names []string, of int) {
	if old != nil && (!o.OnTopKnown || old.OnTopOf != o.Index && len(missingOnTop(old, o)) > 0) {
		return old.OnTop, old.OnTopOf
	}
	if len(o.OnTop) == 0 {
		return nil, 0
	}
	return slices.Clone(o.OnTop), o.Index
}
