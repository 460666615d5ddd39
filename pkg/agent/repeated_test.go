package agent_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
)

// logClock is the time of log lines.
type logClock struct{ now time.Time }

func (c *logClock) Now() time.Time                       { return c.now }
func (c *logClock) NewTicker(time.Duration) *time.Ticker { panic("not used") }

func counting(level zapcore.Level) (*zap.Logger, *logClock, *observer.ObservedLogs) {
	core, logs := observer.New(level)
	clock := &logClock{now: time.Unix(1e9, 0)}
	return zap.New(agent.CountRepeated(core), zap.WithClock(clock)), clock, logs
}

// times are the fields of that name of the lines; 0 for a line that has none.
func times(lines []observer.LoggedEntry) (all []int64) {
	for _, l := range lines {
		n, _ := l.ContextMap()["times"].(int64)
		all = append(all, n)
	}
	return all
}

// TestRepeatedLinesAreCounted: a repeated warning or error is logged when its number has doubled.
func TestRepeatedLinesAreCounted(t *testing.T) {
	log, clock, logs := counting(zap.InfoLevel)
	for i := range 1000 {
		clock.now = clock.now.Add(time.Second)
		log.With(zap.String("bond", "a")).Warn("watch error", zap.Error(errors.New("no buffer")), zap.Duration("retryAfter", time.Duration(i)))
		log.With(zap.String("bond", "b")).Warn("watch error", zap.Error(errors.New("no buffer")))
		log.Info("applied")
	}
	for _, bond := range []string{"a", "b"} {
		got := times(logs.FilterMessage("watch error").FilterField(zap.String("bond", bond)).All())
		if want := []int64{0, 2, 4, 8, 16, 32, 64, 128, 256, 512}; !slices.Equal(got, want) {
			t.Errorf("bond %s: lines with times %v, want %v", bond, got, want)
		}
	}
	if n := logs.FilterMessage("applied").Len(); n != 1000 {
		t.Errorf("%d lines of level info, want 1000", n)
	}
}

// TestOtherLinesAreNotRepetitions: another error, another loss, and a line with a count of its own.
func TestOtherLinesAreNotRepetitions(t *testing.T) {
	log, _, logs := counting(zap.InfoLevel)
	for i := range 10 {
		log.Warn("reconcile failed", zap.Error(fmt.Errorf("error %d", i)))
		log.Warn("member lost", zap.String("loss", fmt.Sprint("id", i)))
		log.Warn("action failed", zap.Int("times", i))
	}
	if n := logs.Len(); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
}

// TestLongLinesAreNotRepetitions: lines of a pod with long names, whose texts differ at their end.
func TestLongLinesAreNotRepetitions(t *testing.T) {
	log, _, logs := counting(zap.InfoLevel)
	log = log.With(zap.String("bond", strings.Repeat("c", 64)+"@bond0"), zap.String("pod", strings.Repeat("n", 63)+"/"+strings.Repeat("p", 253)),
		zap.String("netns", "/var/run/netns/cni-00000000-0000-0000-0000-000000000000"))
	for i := range 10 {
		log.Error("contested setting adopted", zap.String("setting", fmt.Sprintf("route 2001:db8:0:1::%d/128", i)))
	}
	if n := logs.Len(); n != 10 {
		t.Errorf("%d lines, want 10", n)
	}
}

// TestRepetitionsEnd: after an hour without it a line counts as new. One that is repeated for longer is logged at least
// once per hour.
func TestRepetitionsEnd(t *testing.T) {
	log, clock, logs := counting(zap.InfoLevel)
	for range 5 {
		log.Error("cannot save")
		clock.now = clock.now.Add(61 * time.Minute)
	}
	if got, want := times(logs.TakeAll()), []int64{0, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("after a pause: times %v, want %v", got, want)
	}
	for range 40 {
		log.Error("cannot list")
		clock.now = clock.now.Add(10 * time.Minute)
	}
	if got, want := times(logs.All()), []int64{0, 2, 4, 8, 14, 16, 22, 28, 32, 38}; !slices.Equal(got, want) {
		t.Errorf("for hours: times %v, want %v", got, want)
	}
}

// TestRepetitionsAtDebugLevel: at level debug nothing is left out, and a line keeps its caller.
func TestRepetitionsAtDebugLevel(t *testing.T) {
	log, _, logs := counting(zap.DebugLevel)
	for range 5 {
		log.Warn("cannot save")
	}
	levels := []zapcore.Level{}
	for _, l := range logs.All() {
		levels = append(levels, l.Level)
	}
	if want := []zapcore.Level{zap.WarnLevel, zap.WarnLevel, zap.DebugLevel, zap.WarnLevel, zap.DebugLevel}; !slices.Equal(levels, want) {
		t.Errorf("levels %v, want %v", levels, want)
	}
}

// TestRepeatedLinesInParallel: with very many different lines, from many goroutines.
func TestRepeatedLinesInParallel(t *testing.T) {
	log, _, logs := counting(zap.WarnLevel)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				log.Warn("lost", zap.Int("n", i), zap.String("loss", fmt.Sprint(worker, "-", i)))
			}
		})
	}
	all.Wait()
	if n := logs.Len(); n != 8000 {
		t.Errorf("%d lines, want 8000", n)
	}
}
