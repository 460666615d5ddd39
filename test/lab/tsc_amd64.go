package lab

import (
	"math"
	"time"
)

// readTSC returns the processor's time stamp counter.
func readTSC() uint64

const (
	// tscTime is the length of the measurement; tscReads is the number of reads to find one that was not interrupted.
	// Together they limit the error to a few millionths.
	tscTime  = 30 * time.Millisecond
	tscReads = 20
)

// tscKHz returns the frequency in kHz of the host's time stamp counter, which a guest under TCG has, too.
func tscKHz() uint64 {
	start, startTSC := tscReading()
	time.Sleep(tscTime) //nolint:forbidigo // the passing of time is measured
	end, endTSC := tscReading()
	return uint64(float64(endTSC-startTSC) / float64(end.Sub(start)) * float64(time.Millisecond))
}

// tscReading returns the time and the counter's value at that time.
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
