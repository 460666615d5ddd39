// Package peers finds the programs of other projects that the tests run beside Bondkeeper: Multus and sriov-cni. Below
// this directory are stand-ins for them, named multus and sriov as the real programs are. They do what docs/peers.md
// lists. The same tests run on the stand-ins and, where BONDKEEPER_PEERS names a directory, on the real programs in it
// (make test-peers).
package peers
