package bond

import (
	"bytes"
	"encoding/json"
	"time"
)

// Stored returns what is loaded after r was saved as JSON: a deep copy without what the file cannot have. Those are
// empty lists that are not nil, local and monotonic times, and the spaces of a network config. An error means that the
// config is not JSON. Text that is not UTF-8 remains; encoding/json replaces it.
func (r *Record) Stored() (*Record, error) {
	c := r.Clone()
	for _, t := range []*time.Time{&c.Created, &c.Updated, &c.Setup.Returned, &c.Setup.Changed, &c.Setup.Complete} {
		storedTime(t)
	}
	storedRoutes(&c.Routes)
	storedList(&c.Addresses)
	storedList(&c.Fights)
	storedList(&c.Warnings)
	storedList(&c.Contested)
	for i := range c.Contested {
		storedTime(&c.Contested[i].At)
	}
	for i := range c.Members {
		if s := c.Members[i].Settings; s != nil {
			s.stored()
		}
	}
	if c.DNS != nil {
		storedList(&c.DNS.Nameservers)
		storedList(&c.DNS.Search)
		storedList(&c.DNS.Options)
	}
	if c.Lease != nil {
		storedTime(&c.Lease.Next)
	}
	if c.Learned != nil {
		c.Learned.stored()
	}
	c.Repairs.stored()
	return c, c.CNI.stored()
}

func storedTime(t *time.Time) {
	if !t.IsZero() {
		*t = t.UTC() // which also removes the monotonic time
	}
}

func storedList[T any](l *[]T) {
	if len(*l) == 0 {
		*l = nil
	}
}

func storedRoutes(l *[]Route) {
	storedList(l)
	for i := range *l {
		(*l)[i].Special = false
	}
}

func (s *LinkSettings) stored() {
	storedList(&s.IPv4)
	storedList(&s.IPv6)
	storedList(&s.Neigh)
	storedList(&s.TC)
	storedList(&s.MissingTC)
	for _, m := range []*Ethtool{&s.Ethtool, &s.MissingEthtool} {
		if len(*m) == 0 {
			*m = nil
		}
	}
}

func (l *Learned) stored() {
	l.Settings.stored()
	storedList(&l.Addresses)
	storedRoutes(&l.Routes)
	storedList(&l.NoPrefixRoute)
	storedList(&l.OnTop)
}

func (l *RepairLog) stored() {
	if len(l.Open) == 0 {
		l.Open = nil
	}
	for name, loss := range l.Open {
		storedTime(&loss.Since)
		l.Open[name] = loss
	}
	if l.Last != nil {
		storedTime(&l.Last.At)
	}
	storedList(&l.Recent)
	for i := range l.Recent {
		storedTime(&l.Recent[i].At)
	}
}

// stored makes the config what encoding/json makes of it: compact, and without characters that mean something in HTML.
func (c *CNI) stored() error {
	if len(c.Config) == 0 {
		c.Config = nil
		return nil
	}
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, c.Config); err != nil {
		return err
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	c.Config = escaped.Bytes()
	return nil
}
