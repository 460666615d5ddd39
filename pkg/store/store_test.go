package store

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

var _ reconcile.Store = (*Store)(nil)

var sameAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func newStore(t testing.TB) *Store {
	t.Helper()
	return openStore(t, filepath.Join(t.TempDir(), "state"))
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	kit.Must(t, err)
	return s
}

// sample is a record with every field set.
func sample(k bond.Key) *bond.Record {
	yes, vlan, table := true, bond.VLAN{ID: 100, QoS: 3, Proto: 0x8100}, 100
	return &bond.Record{
		Key: k, Phase: bond.PhaseReady, Network: "bond-net",
		Pod:       bond.Pod{Namespace: "default", Name: "pod-<1>", UID: "5f0e"},
		Sandbox:   bond.Sandbox{Path: "/var/run/netns/cni-1", Dev: 4, Inode: 4026532246},
		Spec:      bond.Spec{Options: bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100"}, MTU: 1500, MAC: "02:00:00:00:00:01"},
		BondIndex: 7,
		Members: []bond.Member{
			{
				Name: "net1", PCI: "0000:01:10.0", MAC: "02:00:00:00:00:01",
				VF:       &bond.VF{PF: "0000:01:00.0", Number: 3, Settings: bond.VFSettings{VLAN: &vlan, SpoofChk: &yes}},
				Original: bond.Original{Name: "net1", MAC: "02:00:00:00:00:01", MTU: 1500, Up: true},
			},
			{Name: "net2", Index: 5, PermMAC: "02:00:00:00:00:02", Original: bond.Original{Name: "v0", FromHost: true}},
		},
		Addresses: []bond.Address{{Prefix: netip.MustParsePrefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")}},
		Routes:    []bond.Route{{Dst: netip.MustParsePrefix("2001:db8::/32"), Table: &table}},
		DNS:       &bond.DNS{Nameservers: []string{"10.0.0.1"}},
		CNI:       bond.CNI{Config: json.RawMessage(`{"type":"bond"}`), Args: "K8S_POD_NAME=a;X=b", Path: "/opt/cni/bin"},
		Settled:   true,
		Repairs:   bond.RepairLog{Count: 2, Open: map[string]bond.Loss{"net1": {Cause: "gone", Since: time.Unix(1, 2).UTC()}}},
		Created:   time.Unix(1700000000, 5).UTC(),
	}
}

func key(id string) bond.Key { return bond.Key{ContainerID: id, IfName: "bond0"} }

func save(t testing.TB, s *Store, r *bond.Record) {
	t.Helper()
	kit.Must(t, s.Save(r))
}

func load(t testing.TB, s *Store, k bond.Key) *bond.Record {
	t.Helper()
	r, err := s.Load(k)
	kit.Must(t, err)
	return r
}

// write writes a file as no Store would.
func write(t testing.TB, path, content string) {
	t.Helper()
	kit.Must(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestSaveLoadRemove(t *testing.T) {
	s := newStore(t)
	k := bond.Key{ContainerID: strings.Repeat("f", 200), IfName: "b@0.json<&>é"} // as long and as unusual as possible
	if _, err := s.Load(k); !errors.Is(err, bond.ErrNotFound) {
		t.Fatalf("nothing there: got %v, want ErrNotFound", err)
	}
	if err := s.Remove(k); err != nil {
		t.Fatalf("remove nothing: %v", err)
	}
	want := sample(k)
	before := time.Now()
	save(t, s, want)
	if want.Updated.Before(before) || want.Updated.After(time.Now()) {
		t.Errorf("Updated is %v, which is not when it was saved", want.Updated)
	}
	if diff := cmp.Diff(want, load(t, s, k), sameAddrs); diff != "" {
		t.Errorf("read back differently (-saved +loaded):\n%s", diff)
	}
	want.Phase = bond.PhaseDeleting
	save(t, s, want)
	if got := load(t, s, k); !got.Deleted() {
		t.Errorf("saved again: phase is %s", got.Phase)
	}
	if err := errors.Join(s.Remove(k), s.Remove(k)); err != nil {
		t.Error(err)
	}
	if _, err := s.Load(k); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("removed: got %v, want ErrNotFound", err)
	}
	mustBeEmpty(t, s.tmp)
}

func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%s: %v (%v), want it empty", dir, entries, err)
	}
}

func TestModes(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	s := newStore(t)
	save(t, s, sample(key("c1")))
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	defer unlock()
	for path, want := range map[string]os.FileMode{
		s.dir: os.ModeDir | 0o700, s.locks: os.ModeDir | 0o700, s.tmp: os.ModeDir | 0o700,
		filepath.Join(s.dir, "c1@bond0.json"): 0o600, filepath.Join(s.locks, "c1@bond0.lock"): 0o600,
	} {
		info, err := os.Stat(path)
		kit.Must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", path, info.Mode(), want)
		}
	}
}

// TestRejectedKeys: no key may lead out of the directory.
func TestRejectedKeys(t *testing.T) {
	s := newStore(t)
	for _, k := range []bond.Key{{}, key("../c1"), key("c1@x"), key(""), {ContainerID: "c1", IfName: "../../x"}, {ContainerID: "c1", IfName: ".."}} {
		_, loadErr := s.Load(k)
		_, lockErr := s.Lock(t.Context(), k)
		for what, err := range map[string]error{"Load": loadErr, "Lock": lockErr, "Save": s.Save(sample(k)), "Remove": s.Remove(k)} {
			if err == nil || errors.Is(err, bond.ErrNotFound) {
				t.Errorf("%s of %q: got %v, want it rejected", what, k, err)
			}
		}
	}
	mustBeEmpty(t, s.tmp)
	mustBeEmpty(t, s.locks)
}

// TestSaveRejects records that could not be loaded, and keeps the previous one.
func TestSaveRejects(t *testing.T) {
	for name, change := range map[string]func(*bond.Record){
		"an invalid record":        func(r *bond.Record) { r.Phase = "" },
		"a config that is no JSON": func(r *bond.Record) { r.CNI.Config = json.RawMessage("{") },
		"a name that JSON alters":  func(r *bond.Record) { r.Key.IfName = "bond\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			save(t, s, sample(key("c1")))
			r := sample(key("c1"))
			r.BondIndex = 99
			change(r)
			if err := s.Save(r); err == nil {
				t.Error("saved")
			}
			if got := load(t, s, key("c1")); got.BondIndex != 7 {
				t.Errorf("what was saved before is now %+v", got)
			}
			mustBeEmpty(t, s.tmp)
		})
	}
}

func TestOpenRejects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	mode := func(perm os.FileMode) string {
		dir := filepath.Join(t.TempDir(), "state")
		kit.Must(t, errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, perm)))
		return dir
	}
	foreign := mode(0o700)
	kit.Must(t, os.Chown(foreign, 12345, 0))
	inner := mode(0o700)
	kit.Must(t, errors.Join(os.Mkdir(filepath.Join(inner, "locks"), 0o700), os.Chmod(filepath.Join(inner, "locks"), 0o777)))
	for _, tc := range []struct{ name, dir, want string }{
		{"relative", "state", "absolute"},
		{"empty", "", "absolute"},
		{"a file", file, "not a directory"},
		{"below a file", filepath.Join(file, "state"), "not a directory"},
		{"writable for all", mode(0o777), "0777"},
		{"writable for all, sticky", mode(0o777 | os.ModeSticky), "0777"},
		{"writable for a group", mode(0o770), "0770"},
		{"of another user", foreign, "12345"},
		{"locks writable for all", inner, "locks"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Open(tc.dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	// kubelet creates a hostPath directory with this mode.
	if _, err := Open(mode(0o755)); err != nil {
		t.Errorf("readable for all: %v", err)
	}
}

// TestFullDirectory: a full state directory keeps its records and reports the reason.
func TestFullDirectory(t *testing.T) {
	dir := t.TempDir()
	kit.MountTmpfs(t, dir, "size=64k")
	s := openStore(t, dir)
	r := sample(key("c1"))
	save(t, s, r)
	filler, err := os.Create(filepath.Join(dir, "filler"))
	kit.Must(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err = filler.Close(); err != nil {
		t.Fatal(err)
	}
	r.BondIndex = 99
	if err = s.Save(r); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if got := load(t, s, r.Key); got.BondIndex != 7 {
		t.Errorf("the record is now that which could not be saved: %+v", got)
	}
	mustBeEmpty(t, s.tmp)
	unlock, err := s.Lock(t.Context(), key("c2"))
	if err != nil {
		t.Fatalf("a lock takes no room: %v", err)
	}
	unlock()
	if err := s.Remove(r.Key); err != nil {
		t.Errorf("remove: %v", err)
	}
	save(t, s, r)
}
