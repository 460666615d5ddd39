package plan_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// caseRecord is the section "record": the keys of a record's file, with the members by name and settings by sysctl.
type caseRecord struct {
	*bond.Record
	Net1    *caseMember  `json:"net1"`
	Net2    *caseMember  `json:"net2"`
	Net3    *caseMember  `json:"net3"`
	Learned *caseLearned `json:"learned"`
}

type caseMember struct {
	*bond.Member
	Settings *caseSettings `json:"settings"`
}

type caseLearned struct {
	*bond.Learned
	Settings caseSettings `json:"settings"`
}

// caseSettings are settings of a link that differ from those of a new one: "txqlen", "flags", and sysctls such as
// "ipv4.conf.arp_notify". "listed" is how many of the latter the kernel lists for each family. "ethtool", "ethtoolOf"
// and "missingEthtool" are as in a record.
type caseSettings struct {
	Ethtool        bond.Ethtool
	EthtoolOf      int
	MissingEthtool bond.Ethtool
	numbers        map[string]int64
}

// UnmarshalJSON separates the numbers, which have any name, from the rest.
func (c *caseSettings) UnmarshalJSON(data []byte) error {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, to := range map[string]any{"ethtool": &c.Ethtool, "ethtoolOf": &c.EthtoolOf, "missingEthtool": &c.MissingEthtool} {
		if value, given := all[name]; given {
			if err := json.Unmarshal(value, to); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			delete(all, name)
		}
	}
	rest, err := json.Marshal(all)
	if err == nil {
		err = json.Unmarshal(rest, &c.numbers)
	}
	return err
}

// newLinkSettings are the kernel's settings of a new link, and ADD's of the bond.
func newLinkSettings() bond.LinkSettings {
	const listed = 60 // more sysctls than the kernel has
	s := bond.LinkSettings{TxQLen: 1000, Flags: bond.FlagMulticast, IPv4: make([]int32, listed), IPv6: make([]int32, listed)}
	for _, name := range []string{"keep_addr_on_down", "ndisc_notify"} {
		if err := s.SetSysctl(bond.Sysctl{Family: "ipv6", Name: name, Value: 1}); err != nil {
			panic(err)
		}
	}
	return s
}

func (c *caseSettings) apply(s *bond.LinkSettings) error {
	s.Ethtool, s.EthtoolOf, s.MissingEthtool = c.Ethtool, c.EthtoolOf, c.MissingEthtool
	for _, key := range slices.Sorted(maps.Keys(c.numbers)) {
		n := c.numbers[key]
		switch key {
		case "txqlen":
			s.TxQLen = int(n)
			continue
		case "flags":
			s.Flags = bond.LinkFlags(n) //nolint:gosec // a few bits
			continue
		}
		if key == "listed" {
			s.IPv4, s.IPv6 = s.IPv4[:n], s.IPv6[:n]
			continue
		}
		parts := strings.SplitN(key, ".", 3)
		if len(parts) != 3 || parts[1] != "conf" && parts[1] != "neigh" {
			return fmt.Errorf("no setting %q", key)
		}
		if err := s.SetSysctl(bond.Sysctl{Family: parts[0], Neigh: parts[1] == "neigh", Name: parts[2], Value: n}); err != nil {
			return err
		}
	}
	return nil
}

// decode decodes YAML over v's values. An unknown or duplicate key is an error.
func decode(text []byte, v any) error {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// readRecord applies a case's section to the default record.
func readRecord(text []byte) (*bond.Record, error) {
	def, err := txtar.ParseFile("testdata/default.txtar")
	if err != nil {
		return nil, err
	}
	c := &caseRecord{Record: &bond.Record{}, Learned: &caseLearned{Learned: &bond.Learned{}}}
	for _, m := range []**caseMember{&c.Net1, &c.Net2, &c.Net3} {
		*m = newCaseMember()
	}
	c.Net3.Name, c.Net3.SettingsOf = "", 13
	for _, data := range [][]byte{def.Files[0].Data, text} {
		// Decoding would merge new elements of a list into old ones.
		addresses, routes := c.Addresses, c.Routes
		c.Addresses, c.Routes = nil, nil
		if err = decode(data, c); err != nil {
			return nil, err
		}
		if c.Addresses == nil {
			c.Addresses = addresses
		}
		if c.Routes == nil {
			c.Routes = routes
		}
	}
	return c.record()
}

func newCaseMember() *caseMember {
	return &caseMember{Member: &bond.Member{}, Settings: &caseSettings{}}
}

func (c *caseRecord) record() (*bond.Record, error) {
	rec := c.Record
	maps.DeleteFunc(rec.Spec.Options, func(_ bond.Option, v string) bool { return v == "" })
	for name := range rec.Spec.Options {
		if bond.LookupOption(name) == nil {
			return nil, fmt.Errorf("no bonding option %q", name)
		}
	}
	for _, m := range []*caseMember{c.Net1, c.Net2, c.Net3} {
		if m == nil || m.Name == "" {
			continue
		}
		if m.Settings != nil {
			s := newLinkSettings()
			if err := m.Settings.apply(&s); err != nil {
				return nil, err
			}
			m.Member.Settings = &s
		}
		rec.Members = append(rec.Members, *m.Member)
	}
	if l := c.Learned; l != nil {
		l.Learned.Settings = newLinkSettings()
		if err := l.Settings.apply(&l.Learned.Settings); err != nil {
			return nil, err
		}
		rec.Learned = l.Learned
	}
	return rec.Clone(), nil
}

// changesText lists what differs between two records, by the names of the record's file.
func changesText(before, after *bond.Record) string {
	if bytes.Equal(encoded(before), encoded(after)) {
		return ""
	}
	was, is := flat(before), flat(after)
	var changed []string
	for _, path := range slices.Sorted(maps.Keys(was)) {
		if now, there := is[path]; there && now != was[path] {
			changed = append(changed, fmt.Sprintf("%s: %s -> %s", path, was[path], now))
		}
	}
	return joined(slices.Concat(changed, onlyIn(was, is, "%s: %s -> none"), onlyIn(is, was, "%s: none -> %s")))
}

// onlyIn lists the values of a that b lacks; of a long list only their number.
func onlyIn(a, b map[string]string, format string) (lines []string) {
	const most = 16
	inList := map[string]int{}
	var paths []string
	for path := range a {
		if _, both := b[path]; both {
			continue
		}
		paths = append(paths, path)
		list, _, _ := strings.Cut(path, "[")
		inList[list]++
	}
	for _, path := range slices.Sorted(slices.Values(paths)) {
		list, _, _ := strings.Cut(path, "[")
		if n := inList[list]; n > most {
			lines = append(lines, fmt.Sprintf(format, list, fmt.Sprintf("%d values", n)))
		} else {
			lines = append(lines, fmt.Sprintf(format, path, a[path]))
		}
	}
	return slices.Compact(lines)
}

// flat are the values of a record by their paths.
func flat(rec *bond.Record) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				walk(strings.TrimPrefix(path+"."+key, "."), value)
			}
		case []any:
			for i, value := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), value)
			}
		default:
			out[path] = fmt.Sprint(v)
		}
	}
	for i := range rec.Members {
		walk(rec.Members[i].Name, tree(&rec.Members[i]))
	}
	fields := tree(rec)
	delete(fields, "members")
	walk("", fields)
	return out
}

// tree is a value in the form of its file.
func tree(v any) (tree map[string]any) {
	if err := json.Unmarshal(encoded(v), &tree); err != nil {
		panic(err)
	}
	return tree
}

func encoded(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
