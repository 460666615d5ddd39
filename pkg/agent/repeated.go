package agent

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// repeatWindow: the same warning or error within this time of the last one is a repetition. A repetition is logged
	// when their number has doubled, or when the last one logged is older than this.
	repeatWindow = time.Hour
	// maxRepeated bounds the warnings and errors whose repetitions are counted. If there are more, the oldest are
	// forgotten, and then all.
	maxRepeated = 4096
)

// CountRepeated returns a core that logs repeated warnings and errors at debug level, except when their number has
// doubled or an hour has passed. The field times then has their number. Two lines are the same if they have the same
// message and the same texts in their fields; numbers and durations are not compared. Lines that have a count of their
// own are not changed.
func CountRepeated(core zapcore.Core) zapcore.Core {
	return &repeatedCore{Core: core, counts: &repeats{all: map[lineKey]*repeat{}}}
}

// repeatedCore shares counts with all cores that With made of it.
type repeatedCore struct {
	zapcore.Core
	with   string
	counts *repeats
}

// With implements zapcore.Core.
func (c *repeatedCore) With(fields []zapcore.Field) zapcore.Core {
	texts, _ := textsOf(fields)
	return &repeatedCore{Core: c.Core.With(fields), with: c.with + texts, counts: c.counts}
}

// Check implements zapcore.Core.
func (c *repeatedCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return checked
	}
	return checked.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c *repeatedCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	texts, counted := textsOf(fields)
	if e.Level < zapcore.WarnLevel || counted {
		return c.Core.Write(e, fields)
	}
	times, quiet := c.counts.add(sha256.Sum256([]byte(e.Message+c.with+texts)), e.Time)
	if quiet {
		if e.Level = zapcore.DebugLevel; !c.Enabled(e.Level) {
			return nil
		}
	}
	if times > 1 {
		fields = append(fields[:len(fields):len(fields)], zap.Int("times", times))
	}
	return c.Core.Write(e, fields)
}

// textsOf returns the texts in fields, and whether one of the fields is a count of the same line.
func textsOf(fields []zapcore.Field) (texts string, counted bool) {
	var b strings.Builder
	for _, f := range fields {
		switch f.Key {
		case "times", "attempt", "attempts", "repairs", "changes":
			counted = true
		}
		switch f.Type {
		case zapcore.StringType:
			fmt.Fprintf(&b, " %s=%q", f.Key, f.String)
		case zapcore.ErrorType, zapcore.StringerType:
			fmt.Fprintf(&b, " %s=%q", f.Key, fmt.Sprint(f.Interface))
		}
	}
	return b.String(), counted
}

// lineKey is a digest of what is compared of a line: a text may be long, and what distinguishes it from others at its
// end.
type lineKey [sha256.Size]byte

// repeats counts lines. It is safe for concurrent use.
type repeats struct {
	mu  sync.Mutex
	all map[lineKey]*repeat
}

type repeat struct {
	times        int
	last, logged time.Time
}

// add counts a line. quiet: it is a repetition that is not logged.
func (r *repeats) add(key lineKey, now time.Time) (times int, quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.all[key]
	if l == nil || now.Sub(l.last) > repeatWindow {
		r.forgetOld(now)
		r.all[key] = &repeat{times: 1, last: now, logged: now}
		return 1, false
	}
	l.times, l.last = l.times+1, now
	if quiet = l.times&(l.times-1) != 0 && now.Sub(l.logged) < repeatWindow; !quiet {
		l.logged = now
	}
	return l.times, quiet
}

func (r *repeats) forgetOld(now time.Time) {
	if len(r.all) < maxRepeated {
		return
	}
	for key, l := range r.all {
		if now.Sub(l.last) > repeatWindow {
			delete(r.all, key)
		}
	}
	if len(r.all) >= maxRepeated {
		clear(r.all)
	}
}
