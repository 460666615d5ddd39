package watch

import (
	"errors"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Watched is what has to be known of one record to tell which events concern it.
type Watched struct {
	Key     bond.Key
	Sandbox bond.Sandbox
	// Members are the PCI addresses of the bond's members, PFs those of the physical functions
	// that the members stand on. Empty addresses and repetitions are passed over.
	Members []bond.PCIAddress
	PFs     []bond.PCIAddress
}

// WatchedOf is the part of a record that the Hub needs.
func WatchedOf(r *bond.Record) Watched {
	w := Watched{Key: r.Key, Sandbox: r.Sandbox}
	for i := range r.Members {
		w.Members = append(w.Members, r.Members[i].PCI)
		if vf := r.Members[i].VF; vf != nil {
			w.PFs = append(w.PFs, vf.PF)
		}
	}
	return w
}

// Sink takes the keys. Enqueue is called from several goroutines and must not block: while it
// does, events pile up in the kernel until they are lost. Cause is for the log; it holds
// nothing that a pod can choose.
type Sink interface {
	Enqueue(key bond.Key, cause string)
}

// The causes that are not about one link.
const (
	CauseStart   = "start"
	CauseResync  = "resync"
	CauseOverrun = "overrun"
	CauseRecord  = "record changed"
	CauseRelist  = "records listed again"
	CauseSandbox = "sandbox gone"
)

// Config says what a Hub watches and how.
type Config struct {
	// Dir is the directory of the records. It is looked for again for as long as it is missing.
	Dir string
	// KeyOf tells which record a file in Dir holds by its name; false for files that hold none.
	KeyOf func(file string) (bond.Key, bool)
	// List answers all records, tombstones included. An error means that nothing is known
	// now; it is asked again a second later. Called from one goroutine at a time.
	List func() ([]Watched, error)
	// ReceiveBuffer is the socket's buffer in bytes, of which the kernel allots twice as much; 0 means 8 MiB,
	// some thousands of events. It is a bound, not memory taken.
	ReceiveBuffer int
	// Resync is the mean period after which every key is handed out again; each period
	// is up to a third shorter or longer. 0 means 45 s.
	Resync time.Duration
	// Problem is told what went wrong and is being worked around; once when it begins,
	// not each time it is tried again. Called from several goroutines. Nil drops it.
	Problem func(error)
}

const (
	defaultReceiveBuffer = 8 << 20
	defaultResync        = 45 * time.Second
)

// withDefaults checks cfg and fills what was left open.
func (cfg Config) withDefaults() (Config, error) {
	switch {
	case cfg.Dir == "":
		return cfg, errors.New("watch: Config.Dir is empty")
	case cfg.KeyOf == nil || cfg.List == nil:
		return cfg, errors.New("watch: Config.KeyOf and Config.List are needed")
	case cfg.ReceiveBuffer < 0 || cfg.Resync < 0:
		return cfg, errors.New("watch: Config.ReceiveBuffer and Config.Resync must not be negative")
	}
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = defaultReceiveBuffer
	}
	if cfg.Resync == 0 {
		cfg.Resync = defaultResync
	}
	if cfg.Problem == nil {
		cfg.Problem = func(error) {}
	}
	return cfg, nil
}

// Stats counts since the Hub was made.
type Stats struct {
	// Events are kernel messages read, without those that the socket's filter drops; Relevant those of them that
	// concerned a bond of ours.
	Events, Relevant uint64
	// Overruns are receive errors, after each of which events may be lost; Reopens the sockets
	// opened because of that. They differ while a new socket cannot be had.
	Overruns, Reopens uint64
	// Relists are the times when the records were listed, Resyncs the times when a look at all bonds was
	// due for no reason but time.
	Relists, Resyncs uint64
}
