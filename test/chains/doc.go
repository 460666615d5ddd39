// Package chains runs the reference plugins of the containernetworking project with the bond, in the same chain or on
// top of it, as a runtime does. Its tests (build tag lab) use libcni, the real binaries, real VFs and the agent's
// binary. docs/peers.md has a table of what they check.
package chains
