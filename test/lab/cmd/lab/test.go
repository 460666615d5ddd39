package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bondkeeper/bondkeeper/test/lab"
)

var (
	// errTestsFailed means that the results were bad and are already printed.
	errTestsFailed = errors.New("tests failed")
	errNoTests     = errors.New("ran no tests")
	// errNoResult: no test failed, but not all could be run.
	errNoResult = errors.New(lab.FailedTwice)
)

// grace is what a test binary gets beyond its own timeout, at which it prints where its tests hang.
const grace = 30 * time.Second

// machine is the part of a guest that tests use.
type machine interface {
	Run(ctx context.Context, cmd lab.Cmd) error
	Fault() error
	Stalls() []time.Time
	Done() <-chan struct{}
	Stop(ctx context.Context) error
}

// testOptions are the flags of lab test.
type testOptions struct {
	options
	run    string
	race   bool
	guests int
	// smp has the short names of packages whose own guest has two processors.
	smp []string
	// boot starts a guest for these options.
	boot func(context.Context, *options) (machine, error)
	// compile makes the test binaries of packages in a directory.
	compile func(ctx context.Context, packages []testPackage, dir string, race bool) []binary
	// compiler, if set, is held while compiling: two go commands would compile common packages twice.
	compiler *sync.Mutex
	// args are passed to the test binaries.
	args []string
}

// test is the subcommand that runs packages' tests: all in one guest, or each package in its own.
func test(ctx context.Context, args []string) error {
	var o testOptions
	flags := newFlags("test", &o.options)
	flags.StringVar(&o.run, "run", "", "run only tests that match the `pattern`, as go test does")
	flags.BoolVar(&o.race, "race", false, "compile with the race detector; slow under tcg")
	flags.IntVar(&o.guests, "guests", 0, "boot a guest per package, at most `N` at a time (default: one guest for all packages)")
	smp := flags.String("smp", "", "with -guests: comma-separated `packages` whose guest has two processors, for races that one does not show")
	args, o.args = splitArgs(args)
	if err := flags.Parse(args); err != nil {
		return errors.Join(err, ignoreHelp(err))
	}
	o.boot, o.compile, o.smp = bootGuest, compile, strings.Split(*smp, ",")
	if flags.NArg() == 0 {
		return fmt.Errorf("lab test: no packages: %w", errUsage)
	}
	packages, err := listPackages(ctx, flags.Args())
	if err != nil {
		return err
	}
	var results []result
	if o.guests > 0 {
		results, err = o.testApart(ctx, packages)
	} else {
		results, err = o.test(ctx, packages)
	}
	if err != nil {
		return err
	}
	return summarise(os.Stdout, results, o.run != "")
}

// bootGuest starts a real guest.
func bootGuest(ctx context.Context, o *options) (machine, error) {
	guest, err := o.start(ctx)
	if err != nil {
		return nil, err
	}
	return guest, nil
}

// splitArgs splits at "--", which precedes arguments for the test binaries.
func splitArgs(args []string) (own, theirs []string) {
	for i, arg := range args {
		if arg == "--" {
			return args[:i], args[i+1:]
		}
	}
	return args, nil
}

// test compiles and boots concurrently, and then runs the packages one after the other.
func (o *testOptions) test(ctx context.Context, packages []testPackage) (_ []result, err error) {
	dir, err := o.binariesDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var guest machine
	var binaries []binary
	atOnce, groupCtx := errgroup.WithContext(ctx)
	atOnce.Go(func() (err error) {
		guest, err = o.boot(groupCtx, &o.options)
		return err
	})
	atOnce.Go(func() error {
		if o.compiler != nil {
			o.compiler.Lock()
			defer o.compiler.Unlock()
		}
		binaries = o.compile(groupCtx, packages, dir, o.race)
		return nil
	})
	err = atOnce.Wait()
	// The guest may have come up before the error.
	if guest == nil {
		return o.noResults(packages, err)
	}
	defer func() { stop(ctx, guest, &err) }()
	if err != nil {
		return nil, err
	}
	var results []result
	for i, b := range binaries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var res result
		if guest, res, err = o.testPackage(ctx, guest, b); err != nil {
			var rest []result
			rest, err = o.noResults(packages[i:], err)
			return append(results, rest...), err
		}
		results = append(results, res)
	}
	return results, nil
}

// noResults is the outcome of packages for which no guest came up, or the error if the machine is not its reason.
func (o *testOptions) noResults(packages []testPackage, err error) ([]result, error) {
	if !errors.Is(err, lab.ErrMachineFailed) {
		return nil, err
	}
	fmt.Fprintln(o.out, err)
	results := make([]result, len(packages))
	for i, p := range packages {
		results[i] = result{pkg: p.ImportPath, err: err, void: true}
	}
	return results, nil
}

// alive returns the guest, or a new one if a test has crashed it or its machine has failed, for the other packages.
func (o *testOptions) alive(ctx context.Context, guest machine) (machine, error) {
	if guest.Fault() != nil {
		return o.replace(ctx, guest)
	}
	select {
	case <-guest.Done():
		return o.replace(ctx, guest)
	default:
		return guest, nil
	}
}

// replace stops a guest and returns a new one, or the old one with an error.
func (o *testOptions) replace(ctx context.Context, guest machine) (machine, error) {
	if err := guest.Stop(ctx); err != nil {
		return guest, err
	}
	fresh, err := o.boot(ctx, &o.options)
	if err != nil {
		return guest, err
	}
	return fresh, nil
}

// binariesDir makes this run's own directory for the test binaries. It is in the cache, which the guest can read.
func (o *testOptions) binariesDir(ctx context.Context) (string, error) {
	cache, err := lab.DefaultCacheDir(ctx)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(cache, "tests-")
}

// testPackage runs one package's tests, and repeats them once in another guest if the machine failed. Tests that failed
// while the machine worked are never repeated. It returns the last guest used.
func (o *testOptions) testPackage(ctx context.Context, guest machine, b binary) (machine, result, error) {
	guest, err := o.alive(ctx, guest)
	if err != nil {
		return guest, result{}, err
	}
	res := o.attempt(ctx, guest, b)
	if !res.void || ctx.Err() != nil {
		return guest, res, nil
	}
	fmt.Fprintf(o.out, "no result for %s, testing it once more in another guest: %v\n", b.pkg.ImportPath, res.err)
	if guest, err = o.replace(ctx, guest); err != nil {
		return guest, result{}, err
	}
	if res = o.attempt(ctx, guest, b); res.void {
		res.err = fmt.Errorf("%w: %w", errNoResult, res.err)
	}
	res.repeated = true
	return guest, res, nil
}

// attempt runs one package's tests once.
func (o *testOptions) attempt(ctx context.Context, guest machine, b binary) result {
	fmt.Fprintf(o.out, "\n%s\n", b.pkg.ImportPath)
	res := result{pkg: b.pkg.ImportPath, err: b.err}
	r := &report{out: o.out, verbose: o.verbose, stalls: guest.Stalls}
	began := time.Now()
	if b.err == nil {
		res.err = o.runBinary(ctx, guest, b, r)
	}
	res.took = time.Since(began)
	if b.err == nil && res.err != nil && guest.Fault() != nil {
		fmt.Fprintf(o.out, "%v; tests that had not ended: %v\n", res.err, r.running())
		if !r.failedClear {
			return result{pkg: res.pkg, err: guest.Fault(), took: res.took, void: true}
		}
		res.err = errors.Join(res.err, guest.Fault())
	} else {
		r.failRunning()
	}
	res.passed, res.failed, res.skipped = r.passed, r.failed, r.skipped
	// A failed binary is expected if its tests failed.
	if exit := new(lab.ExitError); r.failed > 0 && errors.As(res.err, &exit) {
		res.err = nil
	}
	if res.err == nil && res.passed+res.failed == 0 {
		res.err = errNoTests
	}
	if !res.ok() {
		fmt.Fprint(o.out, r.rest())
	}
	if res.err != nil {
		fmt.Fprintln(o.out, res.err)
	}
	return res
}

// runBinary runs a test binary in the guest, in its package's directory as go test does, and reports its output.
func (o *testOptions) runBinary(ctx context.Context, guest machine, b binary, r *report) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout+grace)
	defer cancel()
	events, toJSON, err := test2json(ctx, b.pkg.ImportPath)
	if err != nil {
		return err
	}
	var reading errgroup.Group
	reading.Go(func() error { return r.read(events) })
	args := []string{"-test.v=test2json", "-test.timeout=" + o.timeout.String()}
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	err = guest.Run(ctx, lab.Cmd{
		Path: b.path, Args: append(args, o.args...), Env: o.env, Dir: b.pkg.Dir,
		Stdout: toJSON, Stderr: toJSON,
	})
	return errors.Join(err, toJSON.Close(), reading.Wait(), events.Close())
}

// converter is a running test2json. Closing it waits until it ends.
type converter struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (c *converter) Close() error { return c.cmd.Wait() }

// test2json starts Go's own converter of test output: it converts what is written to in to JSON on events.
func test2json(ctx context.Context, pkg string) (events io.ReadCloser, in io.WriteCloser, err error) {
	// Not killed with the context: it ends with its input, and must convert all of it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "go", "tool", "test2json", "-t", "-p", pkg)
	cmd.Stderr = os.Stderr
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, fmt.Errorf("test2json: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("test2json: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("test2json: %w", err)
	}
	return &converter{ReadCloser: out, cmd: cmd}, in, nil
}
