package sriovcni

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// FuzzParse: any cache file results in an error that can be logged, or in settings that can be written to a PF. Device
// names the same VF.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*")
	kit.Must(f, err)
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil { // the fuzzer's own directory is not a file
			f.Add(data)
		}
	}
	f.Add([]byte(`{"deviceID":"` + strings.Repeat("\\u001b", 4000) + `"}`))
	f.Add([]byte(`{"deviceID":"0000:01:10.0","vlanProto":"` + strings.Repeat("\u202e", 4000) + `","vlan":1}`))
	path := filepath.Join(f.TempDir(), "c1-net1")
	f.Fuzz(func(t *testing.T, data []byte) {
		kit.Must(t, os.WriteFile(path, data, 0o600))
		device, wrong := Device(path)
		bondtest.ErrorText(t, wrong)
		a, err := parse(data)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		if wrong != nil || device != a.PCI {
			t.Fatalf("the cache file is of VF %s, and Device returns %s (%v)", a.PCI, device, wrong)
		}
		checkAttachment(t, a)
	})
}

func checkAttachment(t *testing.T, a *Attachment) {
	t.Helper()
	if p, err := bond.ParsePCIAddress(string(a.PCI)); err != nil || p != a.PCI {
		t.Errorf("PCI address %q: %v", a.PCI, err)
	}
	for _, m := range []*bond.MAC{&a.MAC, a.Requested.MAC} {
		if m == nil || *m == "" {
			continue
		}
		if canonical, err := bond.ParseMAC(string(*m)); err != nil || canonical != *m {
			t.Errorf("MAC %q: %v", *m, err)
		}
	}
	if v := a.Requested.VLAN; v != nil && (v.ID < 0 || v.ID > maxVLAN || v.QoS < 0 || v.QoS > maxQoS) {
		t.Errorf("VLAN %+v", v)
	}
	if a.MTU < 0 || a.MTU > maxMTU {
		t.Errorf("MTU %d", a.MTU)
	}
	if a.PFName != "" && bond.ValidateIfName(a.PFName) != nil || a.Number < 0 {
		t.Errorf("PF %q, VF %d", a.PFName, a.Number)
	}
}

// FuzzClaim: any claim results in an error that can be logged, in nothing, or in an absolute path that can be opened
// and logged.
func FuzzClaim(f *testing.F) {
	for _, content := range []string{
		"", "\n", "/var/run/netns/cni-1\n", "/proc/1/ns/net", "relative", "/a\x00b", "/a\x1b[2Jb", "/\xff", "/" + strings.Repeat("a", 5000),
	} {
		f.Add([]byte(content))
	}
	path := filepath.Join(f.TempDir(), "0000:01:10.0")
	f.Fuzz(func(t *testing.T, data []byte) {
		kit.Must(t, os.WriteFile(path, data, 0o600))
		netns, err := Claim(path)
		if err != nil {
			bondtest.ErrorText(t, err)
			if errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the claim exists: %v", err)
			}
			return
		}
		bondtest.Text(t, netns, maxPath)
		if netns != "" && (!filepath.IsAbs(netns) || netns != strings.TrimSpace(string(data))) {
			t.Fatalf("claim %q is read as %q", data, netns)
		}
	})
}
