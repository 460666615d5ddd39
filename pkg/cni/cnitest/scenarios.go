package cnitest

import "testing"

// scenario is one that must take the same course on every node.
type scenario struct {
	name string
	run  func(f *Fixture)
	// process: the plugin is a process per call, if the node can do that. A process takes time to start in an emulated
	// machine, so it is one where processes matter.
	process bool
}

// RunScenarios runs every scenario on a node of its own, with two VFs per card.
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
