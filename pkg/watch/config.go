package watch

import (
	"errors"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Sink takes the keys. Enqueue is called by several goroutines and must not block: meanwhile events pile up in the
// kernel until they are lost. cause is for the log and has nothing that a pod can choose.
type Sink interface {
	Enqueue(key bond.Key, cause string)
}

// The causes that do not concern one link.
const (
	CauseStart   = "start"
	CauseResync  = "resync"
	CauseOverrun = "overrun"
	CauseRecord  = "record changed"
	CauseRelist  = "records listed again"
	CauseSandbox = "sandbox gone"
)

// Config configures a Monitor.
type Config struct {
	// Dir is the directory of the records. While it is missing it is tried again.
	Dir string
	// KeyOf returns the key of the record with that file name in Dir, false if it is not a record's.
	KeyOf func(file string) (bond.Key, bool)
	// List returns all records, tombstones included. After an error it is called again a second later. It is called by
	// one goroutine at a time.
	List func() ([]*bond.Record, error)
	// ReceiveBuffer is the limit of the socket's buffer in bytes, of which the kernel allots twice as much; 0 means 8
	// MiB, some thousands of events.
	ReceiveBuffer int
	// Resync is the mean period after which every key is enqueued again; each period is up to a third shorter or
	// longer. 0 means 45 s.
	Resync time.Duration
	// OnBondDown is called for each event that shows a bond administratively down, before the bond's key is enqueued for
	// it. It must not block, and may be nil.
	OnBondDown func(bond.Key)
	// Known reports whether the sink itself saved a record as it is, so that its change causes no request. It is called
	// after List or Load, by the same goroutine, and must not block. Nil: no record is known.
	Known func(*bond.Record) bool
	// Load returns one record. A changed record that is known and names the same links as before causes no listing. Nil:
	// each change does.
	Load func(bond.Key) (*bond.Record, error)
	// OnError is called with errors that the Monitor recovers from, once per problem, by several goroutines. It may be
	// nil.
	OnError func(error)
}

const (
	defaultReceiveBuffer = 8 << 20
	defaultResync        = 45 * time.Second
)

// withDefaults checks cfg and sets defaults.
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
	if cfg.OnBondDown == nil {
		cfg.OnBondDown = func(bond.Key) {}
	}
	if cfg.Known == nil {
		cfg.Known = func(*bond.Record) bool { return false }
	}
	if cfg.Load == nil {
		cfg.Load = func(bond.Key) (*bond.Record, error) { return nil, bond.ErrUnsupported }
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	return cfg, nil
}

// Stats has counters since the Monitor was made.
type Stats struct {
	// Events counts the kernel messages read, without those that the socket's filter drops; Relevant counts those that
	// concerned a bond.
	Events, Relevant uint64
	// Overruns counts receive errors, after each of which events may be lost; Reopens counts the sockets opened after
	// them. They differ while no new socket can be opened.
	Overruns, Reopens uint64
	// Relists counts listings of the records, Resyncs the periods after which every key was enqueued.
	Relists, Resyncs uint64
}
