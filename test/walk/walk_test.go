package walk

import (
	"slices"
	"testing"
)

var ops = []Op{{Name: "add", Weight: 3, Args: []int{3}}, {Name: "lose", Weight: 1, Args: []int{3, 2}}, {Name: "rest", Weight: 1}}

func TestDraw(t *testing.T) {
	steps := Draw(ops, 7, 300)
	count := map[string]int{}
	for _, s := range steps {
		count[s.Op]++
	}
	if count["add"] < 150 || count["lose"] < 40 || count["rest"] < 40 || count["add"]+count["lose"]+count["rest"] != 300 {
		t.Errorf("drawn: %v", count)
	}
	text := Format(steps)
	if Format(Draw(ops, 7, 300)) != text || Format(Draw(ops, 8, 300)) == text {
		t.Error("a sequence does not depend on its seed alone")
	}
	again, err := Parse(ops, text)
	if err != nil || Format(again) != text {
		t.Errorf("read back: %v, %v", again, err)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"fly", "add", "add 3", "add -1", "add x", "add 1 2", "rest; lose 0 2"} {
		if steps, err := Parse(ops, bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, steps)
		}
	}
	all, err := Stored(ops, "# found by seed 3\nadd 1; lose 1 0; rest # a route\n\nrest\n")
	if err != nil || len(all) != 2 || Format(all[0]) != "add 1; lose 1 0; rest" || Format(all[1]) != "rest" {
		t.Errorf("%v, %v", all, err)
	}
}

// A sequence fails if a loss follows an ADD of the same thing. All other steps are removed.
func TestShrink(t *testing.T) {
	fails := func(steps []Step) bool {
		added := [3]bool{}
		for _, s := range steps {
			if s.Op == "add" {
				added[s.Args[0]] = true
			}
			if s.Op == "lose" && added[s.Args[0]] {
				return true
			}
		}
		return false
	}
	for seed := range uint64(50) {
		steps := Draw(ops, seed, 60)
		if !fails(steps) {
			continue
		}
		least := Shrink(slices.Clone(steps), fails)
		if len(least) != 2 || !fails(least) {
			t.Errorf("seed %d: %q is left of %q", seed, Format(least), Format(steps))
		}
	}
}
