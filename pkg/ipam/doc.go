// Package ipam calls IPAM plugins for a bond, as CNI delegation describes: with the network config, the arguments and the
// plugin path that the record has. Plugin and agent share it, so the process's own environment plays no part.
//
// It must not read or write records, and it decides nothing about bonds: which addresses a bond gets is for its callers.
package ipam
