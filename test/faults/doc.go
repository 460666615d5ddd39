// Package faults is the catalogue of what can happen to a pod's bond, and of what is expected then. The engine's tests play it
// on the fake kernel (TestCatalogue in pkg/reconcile), test/heal on real VFs (TestHeals), and the demo picks its rows from it.
// Fuzz tests and random walks on the fake kernel combine its steps.
//
// It is for tests only, and has neither kernel.
package faults
