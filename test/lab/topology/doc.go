// Package topology has the cards and functions of a lab guest, for tests that run in it.
//
// The guest's init writes it once all virtual functions exist; tests read it with Load and identify functions by PCI
// address. Interface names are those of that moment: a VF whose driver was unbound and bound again, or which returned
// from another netns, may have another one.
//
// Names at power-on are the kernel's own: the cards' physical functions are eth0, eth1, ... in the order of the cards;
// then come the virtual functions, card by card. The card of the user-mode network, if there is one, is UserNetName.
package topology
