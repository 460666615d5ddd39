package lab

import (
	"math"
	"time"
)

// readTSC returns the processor's time stamp counter.
func readTSC() uint64

const (
	// tscTime is how long the counter is watched, tscReads how often it is read to find a reading that nothing
	// has come between. Together they make the error a few millionths.
	tscTime  = 30 * time.Millisecond
	tscReads = 20
)

// tscKHz returns the frequency of the host's time stamp counter, which is that of a guest under TCG, in kHz.
func tscKHz() uint64 {
	start, startTSC := tscReading()
	time.Sleep(tscTime) //nolint:forbidigo // the passing of time is what is measured
	end, endTSC := tscReading()
	return uint64(float64(endTSC-startTSC) / float64(end.Sub(start)) * float64(time.Millisecond))
}

// tscReading returns the time and the counter at that time.
func tscReading() (at time.Time, tsc uint64) {
	best := time.Duration(math.MaxInt64)
	for range tscReads {
		before := time.Now()
		counter := readTSC()
		if took := time.Since(before); took < best {
			best, at, tsc = took, before.Add(took/2), counter
		}
	}
	return at, tsc
}
