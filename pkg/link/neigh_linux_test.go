package link

import (
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// neighMessage is a message of a dump, without its header.
func neighMessage(family byte, params ...*nl.RtAttr) []byte {
	return append([]byte{family, 0, 0, 0}, nested(ndtaParms, params...).Serialize()...)
}

// FuzzNeighTable: any message results in an error or in the parameters of a link that was asked for.
func FuzzNeighTable(f *testing.F) {
	index := nl.NewRtAttr(ndtpaIfindex, nl.Uint32Attr(7))
	f.Add(neighMessage(unix.AF_INET, nl.NewRtAttr(10, nl.Uint32Attr(3)), nl.NewRtAttr(6, nl.Uint64Attr(60000))))
	f.Add(neighMessage(unix.AF_INET6, index, nl.NewRtAttr(10, nl.Uint32Attr(5)), nl.NewRtAttr(15, nl.Uint64Attr(1000))))
	f.Add(neighMessage(unix.AF_DECnet, index))
	f.Add([]byte{unix.AF_INET})
	f.Fuzz(func(t *testing.T, m []byte) {
		queried := map[int]bool{}
		index, family, values, err := neighTable(m, func(index int) bool { queried[index] = true; return index == 7 })
		if err == nil && values != nil && (family == "" || index != 0 && index != 7) {
			t.Errorf("index %d, family %q, values %v", index, family, values)
		}
		if queried[0] {
			t.Error("the defaults were taken for a link's")
		}
	})
}

func TestNeighTable(t *testing.T) {
	all := func(int) bool { return true }
	m := neighMessage(unix.AF_INET6, nl.NewRtAttr(ndtpaIfindex, nl.Uint32Attr(7)), nl.NewRtAttr(10, nl.Uint32Attr(5)), nl.NewRtAttr(15, nl.Uint64Attr(1000)))
	index, family, values, err := neighTable(m, all)
	if err != nil || index != 7 || family != "ipv6" || values["ucast_solicit"] != 5 || values["locktime"] != 100 || len(values) != 2 {
		t.Errorf("got %d, %q, %v (%v)", index, family, values, err)
	}
	if _, _, values, err = neighTable(m, func(int) bool { return false }); err != nil || values != nil {
		t.Errorf("of a link that was not asked for: %v (%v)", values, err)
	}
	if _, _, _, err = neighTable(m[:len(m)-3], all); err == nil {
		t.Error("a message that is cut off is no error")
	}
}
