package link

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// responseAbout is what the kernel sends about a PF with that many VFs. The length of the list is cut to 16 bits
// (nla_nest_end). A driver without ndo_get_vf_config sends none.
func responseAbout(vfs int, listed bool) []byte {
	b := message(nl.NewRtAttr(unix.IFLA_NUM_VF, nl.Uint32Attr(uint32(vfs))))
	if !listed {
		return b
	}
	list := nl.NewRtAttr(unix.IFLA_VFINFO_LIST, nil)
	for n := range vfs {
		info := list.AddRtAttr(nl.IFLA_VF_INFO, nil)
		for _, a := range vfAttrs(n, allSettings()) {
			info.AddRtAttr(a.typ, a.data)
		}
		info.AddRtAttr(nl.IFLA_VF_STATS, make([]byte, 8*12)) // eight counters of 64 bits
	}
	encoded := list.Serialize()
	if len(encoded) > math.MaxUint16 {
		binary.NativeEndian.PutUint16(encoded, uint16(len(encoded)&math.MaxUint16))
	}
	return append(b, encoded...)
}

// TestPFThatDoesNotListItsVFs: a VF of a PF with more VFs than fit in its response, or whose driver reports no settings,
// can be a member. A lost one does not keep the rest of the bond from being observed.
func TestPFThatDoesNotListItsVFs(t *testing.T) {
	tests := map[string]struct {
		response []byte
		read     error // instead of it
		known    bool
	}{
		"some VFs":            {response: responseAbout(64, true), known: true},
		"more VFs than fit":   {response: responseAbout(300, true)},
		"driver without list": {response: responseAbout(64, false)},
		"response too long":   {read: unix.EMSGSIZE},
	}
	for name, tt := range tests {
		pf, err := &device{}, tt.read
		if err == nil {
			pf, err = parseDevice(tt.response)
		}
		vf, found, vfErr := vfOn(&bond.VF{PF: "0000:01:00.0", Number: 3}, pf, err)
		if tt.known {
			if vfErr != nil || found == nil || !vf.Settings.Diff(allSettings()).Empty() {
				t.Errorf("%s: %+v, %v", name, vf, vfErr)
			}
			continue
		}
		if vf == nil || found != nil || !errors.Is(vfErr, errIncompleteVFList) {
			t.Errorf("%s: at ADD: %+v, PF %+v, %v", name, vf, found, vfErr)
		}
		if err == nil {
			_, err = pf.vfSettings(3)
		}
		if err == nil || unlessUnknown(err) != nil {
			t.Errorf("%s: a VF in the host: %v", name, err)
		}
	}
}
