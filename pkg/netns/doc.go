// Package netns opens network namespaces, identifies them and runs functions in them. No other package calls setns(2)
// or locks threads.
//
// It must not use netlink. Opening, entering and comparing need Linux; the ID and the errors are defined on all
// systems.
package netns
