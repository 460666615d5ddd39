package sysdump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Bounds of what is listed of one netns: a pod may create any number of links, addresses, rules and routes, with messages
// of up to 64 KiB each, and the memory of the agent's container is limited.
const (
	maxListed     = 4096
	maxListedSize = 8 << 20 // bytes of all messages
	maxRoutes     = 2048
)

// netDir has the files of the calling thread's netns.
const netDir = "/proc/thread-self/net"

// addNetns adds links, addresses, routes, rules and the bonding driver's view of the calling thread's netns.
func (a *archive) addNetns(dir string) {
	if a.few(dir, "links", unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC)) {
		list(a, dir+"/links.json", netlink.LinkList) //nolint:forbidigo // the info of every VF is wanted, and a dump that was cut short is a problem in the list
	}
	if a.few(dir, "addresses", unix.RTM_GETADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC)) {
		list(a, dir+"/addresses.json", func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	}
	if a.few(dir, "rules", unix.RTM_GETRULE, nl.NewIfInfomsg(unix.AF_UNSPEC)) {
		list(a, dir+"/rules.json", func() ([]netlink.Rule, error) { return netlink.RuleList(netlink.FAMILY_ALL) })
	}
	list(a, dir+"/routes.json", func() ([]netlink.Route, error) { return a.routes(dir) })
	a.addBonding(dir)
}

// few reports whether a dump is within the bounds. It is read as a stream, because the library's lists keep all of it.
func (a *archive) few(dir, what string, kind int, request nl.NetlinkRequestData) bool {
	req := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
	req.AddData(request)
	n, size := 0, 0
	err := req.ExecuteIter(unix.NETLINK_ROUTE, 0, func(m []byte) bool {
		n, size = n+1, size+len(m)
		return n <= maxListed && size <= maxListedSize
	})
	if n > maxListed || size > maxListedSize {
		a.problem("%s: %s are not listed: more than %d, or than %d bytes", dir, what, maxListed, maxListedSize)
		return false
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		a.problem("%s: %s are not listed: %v", dir, what, err)
		return false
	}
	return true
}

// routes are the first routes of all tables but the local one.
func (a *archive) routes(dir string) (all []netlink.Route, err error) {
	left := false
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		err = errors.Join(err, netlink.RouteListFilteredIter(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			if r.Table == unix.RT_TABLE_LOCAL {
				return true
			}
			if left = len(all) >= maxRoutes; !left {
				all = append(all, r)
			}
			return !left
		}))
	}
	if left {
		a.problem("%s: only the first %d routes are listed", dir, maxRoutes)
	}
	return all, err
}

// list adds what get returns, also if a dump was interrupted: then it may lack something, which the problems say.
func list[T any](a *archive, name string, get func() ([]T, error)) {
	all, err := get()
	if err != nil {
		a.problem("%s: %v", name, err)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return
		}
	}
	items := []any{}
	for i := range all {
		item := plain(reflect.ValueOf(&all[i]))
		if fields, isStruct := item.(map[string]any); isStruct {
			if l, isLink := any(all[i]).(netlink.Link); isLink {
				fields["Kind"] = l.Type()
			}
		}
		items = append(items, item)
	}
	a.addJSON(name, items)
}

// addBonding adds /proc/net/bonding.
func (a *archive) addBonding(dir string) {
	from := filepath.Join(netDir, "bonding")
	bonds, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return // no bond was ever created in this netns
	}
	if err != nil {
		a.problem("%s: %v", dir, err)
	}
	if len(bonds) > maxListed {
		a.problem("%s: of %d bonds the first %d are included", dir, len(bonds), maxListed)
		bonds = bonds[:maxListed]
	}
	for _, b := range bonds {
		a.addFile(fmt.Sprintf("%s/bonding/%s.txt", dir, fileName(b.Name())), filepath.Join(from, b.Name()))
	}
}
