package linktest

import (
	"fmt"
	"maps"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// newEthtool are a few of the ethtool settings of a new link.
func (d *netdev) newEthtool() bond.Ethtool {
	e := bond.Ethtool{"feature tx-checksum-ip-generic": "on", "feature tx-generic-segmentation": "on", "feature rx-gro": "on"}
	if d.vf != nil {
		e["ring rx"], e["ring tx"] = "1024", "1024"
	}
	return e
}

// SetEthtool changes a setting that the link supports.
func (f *Fake) SetEthtool(path, name, setting, value string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if _, supported := d.ethtool[setting]; !supported {
			return fmt.Errorf("%s of %s: %w", setting, name, bond.ErrUnsupported)
		}
		d.ethtool[setting] = value
		return nil
	})
}

func observeEthtool(pod *space, r *bond.Record, o *bond.Observed) {
	o.EachEthtool(r, func(l *bond.Link, observed, _ *bond.LinkSettings) {
		observed.Ethtool, observed.EthtoolOf = maps.Clone(pod.links[l.Index].ethtool), l.Index
	})
}
