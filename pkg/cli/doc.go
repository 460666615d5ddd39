// Package cli has what the commands for operators share: text that is safe on a terminal, and JSON and YAML for
// programs. It knows nothing of bonds.
package cli
