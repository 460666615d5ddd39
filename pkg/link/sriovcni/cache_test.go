package sriovcni

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// corpus is a directory like sriov-cni's, with the test files as attachments of container c1.
func corpus(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("corpus: %v, %v", files, err)
	}
	for _, f := range files {
		if filepath.Base(f) == "fuzz" {
			continue // the fuzzer's own directory
		}
		data, err := os.ReadFile(f)
		kit.Must(t, err)
		name := short(filepath.Base(f))
		kit.Must(t, os.WriteFile(filepath.Join(dir, "c1-"+name), data, 0o600))
		names = append(names, filepath.Base(f))
	}
	return dir, names
}

// short shortens a file's name to that of an interface.
func short(name string) string { return name[:min(len(name), bond.MaxIfNameLen)] }

func TestRead(t *testing.T) {
	mac := func(s string) *bond.MAC { return new(bond.MAC(s)) }
	want := map[string]*Attachment{
		"everything": {PCI: "0000:af:06.1", MAC: "02:00:00:00:00:01", MTU: 9000, PFName: "ens1f0", Number: 3, Requested: bond.VFSettings{
			MAC: mac("02:00:00:00:00:01"), VLAN: &bond.VLAN{ID: 1000, QoS: 5, Proto: 0x88a8}, Rate: &bond.VFRate{Min: 100, Max: 2000},
			SpoofChk: new(false), Trust: new(true), LinkState: new(uint32(0)),
		}},
		"nothing-asked": {PCI: "0000:01:10.0", MAC: "32:f5:4b:00:11:22", PFName: "ens2"},
		"nulls":         {PCI: "0000:01:10.2", MAC: "32:f5:4b:00:11:33", PFName: "ens2", Number: 1},
		"vlan-and-qos": {PCI: "0000:01:10.4", PFName: "ens2", Number: 2, Requested: bond.VFSettings{
			VLAN: &bond.VLAN{ID: 100, QoS: 3, Proto: 0x8100}, SpoofChk: new(false),
		}},
		"older": {PCI: "0000:05:0a.2", MAC: "2a:01:02:03:04:05", PFName: "ens785f1", Number: 2, Requested: bond.VFSettings{
			VLAN: &bond.VLAN{Proto: 0x8100}, Rate: &bond.VFRate{Max: 500},
		}},
		"short-and-loud": {PCI: "0000:af:06.1", MAC: "02:ab:cd:ef:00:01", Requested: bond.VFSettings{
			MAC: mac("02:ab:cd:ef:00:01"), VLAN: &bond.VLAN{ID: 7, Proto: 0x8100}, SpoofChk: new(true), Trust: new(false), LinkState: new(uint32(2)),
		}},
	}
	broken := map[string]string{
		"cut-off": "unexpected end", "empty": "unexpected end", "a-list": "array", "no-device": "deviceID", "empty-object": "deviceID", "device-is-a-path": "deviceID",
		"vlan-is-text": "vlan", "vlan-too-large": "5000", "qos-too-large": "vlanQoS", "vlan-protocol": "802.3", "multicast-mac": "01:00:5e",
		"negative-rate": "max_tx_rate", "spoofchk-maybe": "maybe", "trust-is-a-boolean": "trust", "link-state-up": "link_state", "negative-mtu": "-5",
	}
	dir, names := corpus(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			got, err := Read(dir, bond.Key{ContainerID: "c1", IfName: short(name)})
			if text, bad := broken[name]; bad {
				if err == nil || got != nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), dir) {
					t.Errorf("got %+v, %v; want an error with %q and the file's name", got, err, text)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, want[name]) {
				t.Errorf("got  %+v (%s), %v\nwant %+v", got, settingsOf(got), err, want[name])
			}
		})
	}
	if len(names) != len(want)+len(broken) {
		t.Errorf("%d files in testdata, %d expectations", len(names), len(want)+len(broken))
	}
}

func settingsOf(a *Attachment) string {
	if a == nil {
		return ""
	}
	return a.Requested.String()
}

func TestReadOddFiles(t *testing.T) {
	dir := t.TempDir()
	if got, err := Read(dir, bond.Key{ContainerID: "c1", IfName: "net1"}); got != nil || err != nil {
		t.Errorf("without a file: %+v, %v; want nothing", got, err)
	}
	if got, err := Read(filepath.Join(dir, "none"), bond.Key{ContainerID: "c1", IfName: "net1"}); got != nil || err != nil {
		t.Errorf("without a directory: %+v, %v; want nothing", got, err)
	}
	if _, err := Read(dir, bond.Key{ContainerID: "../x", IfName: "net1"}); err == nil {
		t.Error("a container ID that is a path was taken")
	}
	good := filepath.Join(dir, "good")
	kit.Must(t, os.WriteFile(good, []byte(`{"deviceID":"0000:01:10.0"}`), 0o600))
	for name, make := range map[string]func(path string) error{
		"symlink":   func(path string) error { return os.Symlink(good, path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"large":     func(path string) error { return os.WriteFile(path, []byte(strings.Repeat(" ", maxFile+1)), 0o600) },
	} {
		kit.Must(t, make(filepath.Join(dir, "c1-"+name)))
		if got, err := Read(dir, bond.Key{ContainerID: "c1", IfName: name}); got != nil || err == nil {
			t.Errorf("%s: got %+v, %v; want an error", name, got, err)
		}
	}
}
