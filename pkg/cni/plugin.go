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
	// so that there is time to give everything back.
	addTimeout = 80 * time.Second
	// delTimeout bounds every other verb, and what an ADD that failed gives back.
	delTimeout = 30 * time.Second
	// busyTimeout is how long an ADD keeps trying what the kernel refuses as busy.
	busyTimeout = 10 * time.Second
)

// Store is what the plugin needs of the store beyond what the engine does.
type Store interface {
	reconcile.Store
	// Keys names all records there are, readable or not.
	Keys() ([]bond.Key, error)
}

// Backend is what the plugin needs of the machine. Its functions are safe for concurrent use.
type Backend struct {
	Kernel reconcile.Kernel
	Store  Store
	// FindMembers finds links by name, in the pod or in the host's netns, and notes their
	// identity and what they have now. One that is not there is no error, one that cannot be a
	// member is. Nothing is changed.
	FindMembers func(context.Context, bond.MemberQuery) (bond.MemberResult, error)
	// Sandbox is the identity of the netns at path; the error says why there is none.
	Sandbox func(path string) (bond.Sandbox, error)
	// HostSandbox is the identity of the netns that the plugin itself runs in.
	HostSandbox func() (bond.Sandbox, error)
	// SandboxAlive reports whether a sandbox still exists; nil counts each as alive.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// Probe is nil when the kernel can make bonds and records can be written, else why not.
	Probe func(ctx context.Context) error
}

// Plugin is the CNI plugin. It keeps nothing between calls and is safe for concurrent use.
type Plugin struct {
	// Open makes the backend whose records are kept in stateDir.
	Open func(stateDir string) (*Backend, error)
	// Stdout is where results go, Stderr where problems are told.
	Stdout, Stderr io.Writer
}

// Funcs are the verbs, as skel.PluginMainFuncs takes them.
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

// Versions are the versions of the CNI specification that the plugin speaks.
func Versions() version.PluginInfo { return version.All }

// session is one call of one verb.
type session struct {
	*Backend
	engine *reconcile.Engine
	ipam   *ipam.Client
	log    *zap.Logger
	stdout io.Writer
}

func (p *Plugin) open(stateDir string) (*session, error) {
	backend, err := p.Open(stateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", stateDir, err)
	}
	s := &session{Backend: backend, ipam: &ipam.Client{Stderr: p.stderr()}, log: stderrLog(p.stderr()), stdout: p.Stdout}
	if s.stdout == nil {
		s.stdout = os.Stdout
	}
	s.engine = reconcile.New(reconcile.Config{
		Kernel: backend.Kernel, Store: backend.Store, IPAM: s.ipam, Log: s.log,
		Records: s.records, SandboxAlive: backend.SandboxAlive,
	})
	return s, nil
}

// records are all that can be read; the agent reports the others.
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

// stderrLog tells of problems only: what a plugin writes to standard error ends up in the
// runtime's log, for every pod.
func stderrLog(w io.Writer) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(zapcore.AddSync(w)), zapcore.WarnLevel))
}

// key is the bond that the call is about.
func key(args *skel.CmdArgs) (bond.Key, error) {
	k := bond.Key{ContainerID: args.ContainerID, IfName: args.IfName}
	if err := k.Validate(); err != nil {
		return k, badEnv("CNI_CONTAINERID and CNI_IFNAME: %v", err)
	}
	return k, nil
}

// parse reads all that a call of ADD or CHECK came with.
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
