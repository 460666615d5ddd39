// Package status tells how the bonds are. It gets a bond.Status after every look at a
// bond and says only what has changed. It reads nothing from the kernel and decides nothing.
package status
