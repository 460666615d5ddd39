// Package display writes the state of a node's bonds as text for a terminal, as JSON or as YAML. It observes nothing
// and decides nothing: its input is what a reconcile observed and planned.
package display
