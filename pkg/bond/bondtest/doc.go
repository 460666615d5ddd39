// Package bondtest has properties that fuzz tests check: of errors about input from outside, and of records that were
// created from it. It is for tests only.
package bondtest
