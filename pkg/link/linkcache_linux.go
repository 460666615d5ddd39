package link

import (
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// linkCache has what was last read of links, for what no event reports. It is safe for concurrent use.
type linkCache[V any] struct {
	maxAge time.Duration
	mu     sync.Mutex
	read   map[linkKey]cachedRead[V]
}

type linkKey struct {
	netns netns.ID
	index int
}

type cachedRead[V any] struct {
	value V
	at    time.Time
}

// maxCached bounds the links of which something is kept.
const maxCached = 4096

// get returns what was last read of a link. It is read again if it is too old or must be fresh.
func (c *linkCache[V]) get(k linkKey, fresh bool, read func() (V, error)) (value V, err error) {
	c.mu.Lock()
	last, found := c.read[k]
	c.mu.Unlock()
	now := time.Now()
	if found && !fresh && now.Sub(last.at) < c.maxAge {
		return last.value, nil
	}
	if value, err = read(); err != nil {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.read) >= maxCached || c.read == nil {
		c.read = map[linkKey]cachedRead[V]{}
	}
	c.read[k] = cachedRead[V]{value, now}
	return value, nil
}
