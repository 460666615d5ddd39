// Package ipam calls IPAM plugins for a bond by CNI delegation, with the network config, the arguments and the plugin
// path of the record. Plugin and agent share it, so it does not use the process's own environment.
//
// It must not read or write records, and makes no decisions about bonds.
package ipam
