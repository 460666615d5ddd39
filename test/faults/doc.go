// Package faults is the catalogue of what can happen to a pod's bond, with the expected result. The engine's tests run
// it on the fake kernel (TestCatalogue in pkg/reconcile), test/heal runs it on real VFs (TestHeals), and the demo
// selects its rows from it. Fuzz tests and random walks on the fake kernel combine its steps.
//
// It is for tests only, and imports neither kernel.
package faults
