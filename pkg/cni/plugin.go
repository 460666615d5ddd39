package cni

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

const (
	// addTimeout bounds an ADD. It is less than the two minutes that a kubelet waits for a sandbox,
	// so that there is time for the rollback.
	addTimeout = 80 * time.Second
	// delTimeout bounds every other verb, and the rollback of a failed ADD.
	delTimeout = 30 * time.Second
	// busyTimeout bounds the time in which an ADD retries what the kernel rejects as busy.
	busyTimeout = 10 * time.Second
	// busyPause is the pause before the kernel is read again.
	busyPause = 100 * time.Millisecond
)

// Store has the store's methods that plugin and engine need.
type Store interface {
	reconcile.Store
	// Keys returns the keys of all records, readable or not.
	Keys() ([]bond.Key, error)
}

// Backend is the plugin's access to the machine. Its functions are safe for concurrent use.
type Backend struct {
	Kernel reconcile.Kernel
	Store  Store
	// FindMembers searches for links by name, in the pod or in the host's netns, and returns their identity and current
	// settings. A missing link is not an error, one that cannot be a member is. It changes nothing.
	FindMembers func(context.Context, bond.MemberQuery) (bond.MemberResult, error)
	// Sandbox returns the identity of the netns at path.
	Sandbox func(path string) (bond.Sandbox, error)
	// HostSandbox returns the identity of the plugin's own netns.
	HostSandbox func() (bond.Sandbox, error)
	// SandboxAlive reports whether a sandbox still exists; if it is nil, all count as alive.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// KernelRelease is what uname -r prints. ADD and STATUS reject a kernel that is too old; DEL does not.
	KernelRelease string
	// Probe returns an error if the kernel has no bonding or records cannot be written.
	Probe func(ctx context.Context) error
}

// Plugin is the CNI plugin. It has no state between calls and is safe for concurrent use.
type Plugin struct {
	// Open returns the backend with the records in stateDir.
	Open func(stateDir string) (*Backend, error)
	// Stdout gets results, Stderr log lines.
	Stdout, Stderr io.Writer
}

// Funcs returns the verbs for skel.PluginMainFuncs.
func (p *Plugin) Funcs() skel.CNIFuncs {
	verb := func(f func(context.Context, *skel.CmdArgs) error, timeout time.Duration) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return withCNICode(f(ctx, args))
		}
	}
	return skel.CNIFuncs{
		Add:    verb(p.Add, addTimeout),
		Del:    verb(p.Del, delTimeout),
		Check:  verb(p.Check, delTimeout),
		GC:     verb(p.GC, addTimeout),
		Status: verb(p.Status, delTimeout),
	}
}

// Versions returns the supported versions of the CNI specification.
func Versions() version.PluginInfo { return version.All }

// session is one call of one verb.
type session struct {
	*Backend
	engine *reconcile.Engine
	ipam   *ipam.Client
	log    *zap.Logger
	stdout io.Writer
}

// open begins a call; path is its CNI_PATH.
func (p *Plugin) open(stateDir, path string) (*session, error) {
	backend, err := p.Open(stateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", stateDir, err)
	}
	s := &session{Backend: backend, ipam: &ipam.Client{Stderr: p.stderr(), Path: path}, log: stderrLog(p.stderr()), stdout: p.Stdout}
	if s.stdout == nil {
		s.stdout = os.Stdout
	}
	s.engine = reconcile.New(reconcile.Config{
		Kernel: backend.Kernel, Store: backend.Store, IPAM: s.ipam, Log: s.log,
		Records: s.records, SandboxAlive: backend.SandboxAlive,
	})
	return s, nil
}

// records returns all readable records; the agent reports the others.
func (s *session) records(context.Context) ([]*bond.Record, error) {
	keys, err := s.Store.Keys()
	if err != nil {
		return nil, err
	}
	var all []*bond.Record
	for _, k := range keys {
		if r, err := s.Store.Load(k); err == nil {
			all = append(all, r)
		}
	}
	return all, nil
}

func (p *Plugin) stderr() io.Writer {
	if p.Stderr != nil {
		return p.Stderr
	}
	return os.Stderr
}

// stderrLog logs warnings and errors only: what a plugin writes to standard error is in the runtime's log, for every
// pod.
func stderrLog(w io.Writer) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(zapcore.AddSync(w)), zapcore.WarnLevel))
}

// key returns the key of the call's bond.
func key(args *skel.CmdArgs) (bond.Key, error) {
	k := bond.Key{ContainerID: args.ContainerID, IfName: args.IfName}
	if err := k.Validate(); err != nil {
		return k, badEnv("CNI_CONTAINERID and CNI_IFNAME: %v", err)
	}
	return k, nil
}

// parse parses the input of an ADD or CHECK.
func parse(args *skel.CmdArgs) (k bond.Key, a Args, c *Config, err error) {
	if k, err = key(args); err != nil {
		return k, a, nil, err
	}
	if a, err = ParseArgs(args.Args); err != nil {
		return k, a, nil, err
	}
	c, err = ParseConfig(args.StdinData, a)
	return k, a, c, err
}
