package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// fleet is a number of pods, each with a bond of two dummy links. What a bond costs the agent does not depend on its
// members' driver.
type fleet struct {
	o    *options
	bond *contender
	pods []string // paths of the netns
}

func newFleet(o *options) *fleet {
	return &fleet{o: o, bond: &contender{name: "fleet", program: filepath.Join(o.bin, "bond"), isPlugin: true}}
}

// grow adds pods until there are that many. The plugin makes their bonds.
func (f *fleet) grow(ctx context.Context, to int) error {
	var batch strings.Builder
	first := len(f.pods)
	for i := first; i < to; i++ {
		fmt.Fprintf(&batch, "netns add fleet%d\n", i)
	}
	if err := (kit.Links{}).Batch("", batch.String()); err != nil {
		return err
	}
	for i := first; i < to; i++ {
		path := fmt.Sprintf("/run/netns/fleet%d", i)
		f.pods = append(f.pods, path)
		if err := addMembers(path); err != nil {
			return fmt.Errorf("members of %s: %w", path, err)
		}
		if _, err := f.bond.call(ctx, f.o, &pod{name: filepath.Base(path)}, "ADD", fmt.Sprintf(config, ""), i); err != nil {
			return fmt.Errorf("ADD in %s: %w", path, err)
		}
	}
	return nil
}

func addMembers(path string) error {
	return inNetns(path, func(h *netlink.Handle) error {
		for _, name := range []string{"net1", "net2"} {
			if err := h.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// inNetns calls use with a socket in a netns.
func inNetns(path string, use func(*netlink.Handle) error) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	var h *netlink.Handle
	err = ns.Do(func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return err
	}
	defer h.Close()
	return use(h)
}

// end deletes all pods, and the records of their bonds. The bonds end with their netns. No agent may run.
func (f *fleet) end() error {
	var batch strings.Builder
	for _, path := range f.pods {
		fmt.Fprintf(&batch, "netns del %s\n", filepath.Base(path))
	}
	f.pods = nil
	return errors.Join(kit.Links{}.Batch("", batch.String()), os.RemoveAll(store.DefaultDir))
}
