// Package scenario is the fixture of the planner's and the engine's tests: a fake node with two cards, a pod with a VF
// of each, the record of a bond over them, and every external event by name.
//
// It is for tests only, and must not import the planner or the engine.
package scenario
