package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// bystanders are the host and pod B, which an attack must not change.
type bystanders struct {
	s      *faultRun
	host   snapshot
	links  []string // names of the host's links, without the PFs
	events int
}

// watchOthers stores the host's state before an attack.
func (s *faultRun) watchOthers(ctx context.Context) (*bystanders, error) {
	b := &bystanders{s: s, events: s.r.monitor.events.len()}
	var err error
	b.host, b.links, err = s.r.hostLinks(ctx)
	return b, err
}

// untouched reports how the host differs from before, and each change of a host's link that was undone since. VF
// settings of the PFs do get written, so only their final values count.
func (b *bystanders) untouched(ctx context.Context) error {
	now, _, err := b.s.r.hostLinks(ctx)
	if err != nil {
		return err
	}
	if d := now.diff(b.host); len(d) > 0 {
		err = fmt.Errorf("the host's links are not as before:\n  %s", strings.Join(d, "\n  "))
	}
	return errors.Join(err, b.unchanged(ctx))
}

// unchanged reports each change of a link that was in the host, undone or not.
func (b *bystanders) unchanged(ctx context.Context) error {
	var errs []error
	events, err := b.s.mark(ctx, b.events)
	if err != nil {
		return err
	}
	for _, text := range events {
		if b.concerns(text) {
			errs = append(errs, fmt.Errorf("a link of the host was changed: %s", text))
		}
	}
	return errors.Join(errs...)
}

// concerns reports whether an event is about a link that the host had before.
func (b *bystanders) concerns(text string) bool {
	if !strings.HasPrefix(text, "[nsid current]") {
		return false
	}
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool {
		name, _, _ := strings.Cut(strings.TrimSuffix(word, ":"), "@")
		return slices.Contains(b.links, name)
	})
}

// hostLinks are all facts that ip(8) reports about the host's links.
func (r *Fixture) hostLinks(ctx context.Context) (snapshot, []string, error) {
	out, err := output(ctx, "", "ip", "-j", "-d", "link", "show")
	if err != nil {
		return nil, nil, err
	}
	var links []map[string]any
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, nil, fmt.Errorf("output of ip about the host: %w", err)
	}
	s := snapshot{}
	var names []string
	for _, l := range links {
		name := fmt.Sprint(l["ifname"])
		if !slices.ContainsFunc(r.cards, func(c card) bool { return c.PF.PCI == topology.FunctionOf(fmt.Sprint(l["parentdev"])) }) && name != "lo" {
			names = append(names, name)
		}
		for fact, value := range l {
			s[name+" "+fact] = fmt.Sprint(value)
		}
	}
	return s, names, nil
}

// stillInHost checks that a VF's link is in the host.
func stillInHost(pci string) error {
	if _, err := topology.Netdev(pci); err != nil {
		return fmt.Errorf("the VF %s should be in the host: %w", pci, err)
	}
	return nil
}

// ifindex returns the index of a link of the pod.
func (p *Pod) ifindex(ctx context.Context, name string) (int, error) {
	links, err := p.links(ctx, "dev", name)
	if err == nil && len(links) != 1 {
		err = fmt.Errorf("ip describes %d links %s of pod %s, want one", len(links), name, p.Name)
	}
	if err != nil {
		return 0, err
	}
	return links[0].Index, nil
}

// enslaved returns the names of the bond's current members.
func (p *Pod) enslaved(ctx context.Context) (names []string, err error) {
	links, err := p.links(ctx, "master", BondName)
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names, err
}

// podLink is a link of a pod, as ip(8) describes it.
type podLink struct {
	Index int    `json:"ifindex"`
	Name  string `json:"ifname"`
}

// links returns the pod's links that a filter of ip-link(8) selects.
func (p *Pod) links(ctx context.Context, filter ...string) (links []podLink, err error) {
	out, err := output(ctx, "", "ip", append([]string{"-n", p.Name, "-j", "link", "show"}, filter...)...)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, fmt.Errorf("output of ip about the links of pod %s: %s: %w", p.Name, out, err)
	}
	return links, nil
}
