// Package virtiopci finds the PCI function of a virtio device, and the links of a function, virtio or not. A virtio-net
// link's device is on the virtio bus, with a name such as virtio3 that changes when the driver takes the function again;
// the function's address does not.
//
// It only reads sysfs. It must not decide what a link is.
package virtiopci
