package cnitest

import "testing"

// scenario is a test that must have the same result on every node.
type scenario struct {
	name string
	run  func(f *Fixture)
	// process: the plugin is a process per call, if the node can do that. A process starts slowly in an emulated
	// machine, so it is used only where it matters.
	process bool
}

// RunScenarios runs every scenario on its own node, with two VFs per card.
func RunScenarios(t *testing.T, open func(f *Fixture) Node) {
	for _, section := range [][]scenario{addScenarios, linkScenarios, macScenarios, networkScenarios, delScenarios, orderScenarios, virtualScenarios} {
		for _, s := range section {
			t.Run(s.name, func(t *testing.T) {
				f := New(t, open)
				f.process = s.process
				s.run(f)
			})
		}
	}
}
