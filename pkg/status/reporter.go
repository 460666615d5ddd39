package status

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Config configures a Reporter; API or GetAPI, Node and Dir are required.
type Config struct {
	// API configures access to the API server. The reporter sets timeout, rate limit and content type itself.
	API *rest.Config
	// GetAPI returns API, if API is nil. Run calls it until it returns no error.
	GetAPI func() (*rest.Config, error)
	// Node is the node's name, for events.
	Node string
	// Dir is the directory of the checkpoints, used by the reporter only. It is made if missing.
	Dir string
	// PreviousDir is the directory that an earlier version used. If it exists it replaces Dir: an agent of that version
	// has run since. It may be empty.
	PreviousDir string
	// Rate (per second) and Burst limit all requests of this node, events included. Default 2 and 10.
	Rate  float32
	Burst int
	// Window is the minimum time between two patches of one pod. It doubles with every patch up to LastWindow, and is
	// reset after twice LastWindow without one. Default 1 s and 30 s.
	Window, LastWindow time.Duration
	// NetworkWait is how long to wait for Multus's network status before the first patch of a pod. Default 30 s.
	NetworkWait time.Duration
	// NetworkStatus is called by several goroutines for each pod that has Multus's network status. It may be nil and
	// must not block.
	NetworkStatus func(bond.Pod)
	// Timeout bounds one request. Default 15 s.
	Timeout time.Duration
	// Log may be nil.
	Log *zap.Logger
}

const (
	// senders is how many pods are synced in parallel: a request that hangs does not delay other pods.
	senders = 4
	// slowRetry is how long a pod waits if another pod whose last request timed out is synced. All of these use one sender.
	slowRetry = time.Second
	// podEndDelay is how long a pod's other bonds wait after one was forgotten. When a pod ends all its bonds go one by
	// one, and nothing needs to be reported.
	podEndDelay = 10 * time.Second
	// startRetry is the pause after a failed start.
	startRetry = 10 * time.Second
	// sweepDelay is when checkpoints of pods without bonds are deleted.
	sweepDelay = 10 * time.Minute
)

// Reporter reports bonds on their pods: an annotation, a condition and events. Report and Forget never block; Run sends
// the requests.
type Reporter struct {
	c           Config
	queue       workqueue.TypedDelayingInterface[bond.Pod]
	limiter     flowcontrol.RateLimiter
	breaker     circuitBreaker
	slowSender  chan struct{} // full while a pod is synced whose last request timed out
	checkpoints checkpoints
	metrics     metrics
	// api and events are set by Run before use.
	api    *api
	events record.EventRecorder

	mu   sync.Mutex
	pods map[bond.Pod]*podEntry
	// owner maps a bond to its pod, or to an empty one if the pod is not known.
	owner map[bond.Key]bond.Pod
	// unreleased has the bonds with an event that their addresses remain allocated; unreleasedQueue has the events to
	// send.
	unreleased      map[bond.Key]bool
	unreleasedQueue chan unreleased
	lastOrder       int // of the bonds so far, in the order of their first report
}

// NewReporter returns a Reporter. Errors are about the configuration; no request is sent.
func NewReporter(c Config) (*Reporter, error) {
	c.defaults()
	if (c.API == nil && c.GetAPI == nil) || c.Node == "" || c.Dir == "" {
		return nil, fmt.Errorf("reporter: API, Node (%q) and Dir (%q) are required", c.Node, c.Dir)
	}
	r := &Reporter{
		c: c, metrics: newMetrics(), checkpoints: checkpoints{c.Dir},
		limiter: flowcontrol.NewTokenBucketRateLimiter(c.Rate, c.Burst),
		breaker: circuitBreaker{minPause: time.Second, maxPause: time.Minute}, slowSender: make(chan struct{}, 1),
		queue: workqueue.NewTypedDelayingQueue[bond.Pod](),
		pods:  map[bond.Pod]*podEntry{}, owner: map[bond.Key]bond.Pod{},
		unreleased: map[bond.Key]bool{}, unreleasedQueue: make(chan unreleased, maxUnreleased),
	}
	if c.API != nil {
		if err := r.connect(c.API); err != nil {
			r.queue.ShutDown()
			return nil, err
		}
	}
	return r, nil
}

// connect makes the client; no request is sent.
func (r *Reporter) connect(c *rest.Config) (err error) {
	if r.api, err = newAPI(c, r.c.Timeout, &r.metrics); err != nil {
		return fmt.Errorf("reporter: client of the API server: %w", err)
	}
	return nil
}

func (c *Config) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&c.Window, time.Second)
	set(&c.LastWindow, 30*time.Second)
	set(&c.NetworkWait, 30*time.Second)
	set(&c.Timeout, 15*time.Second)
	if c.Rate == 0 {
		c.Rate = 2
	}
	if c.Burst == 0 {
		c.Burst = 10
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
}

// Run sends requests until ctx ends; it is called once. Until Dir and the access to the API server can be used it logs
// why not and tries again; what is reported meanwhile is sent then.
func (r *Reporter) Run(ctx context.Context) {
	defer r.queue.ShutDown()
	for err := r.open(); err != nil; err = r.open() {
		r.c.Log.Error("pod status reporting cannot start and tries again; repair does not need it", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(startRetry):
		}
	}
	stop := context.AfterFunc(ctx, r.queue.ShutDown)
	defer stop()
	var all sync.WaitGroup
	r.events = r.startEvents(ctx)
	for range senders {
		all.Go(func() {
			for r.next(ctx) {
			}
		})
	}
	all.Go(func() { r.sendUnreleased(ctx) })
	all.Go(func() { r.sweep(ctx) })
	all.Wait()
}

// open prepares what Run needs. It may be called again after an error.
func (r *Reporter) open() error {
	if r.api == nil {
		c, err := r.c.GetAPI()
		if err != nil {
			return fmt.Errorf("reporter: access to the API server: %w", err)
		}
		if err = r.connect(c); err != nil {
			return err
		}
	}
	if err := errors.Join(r.replacePrevious(), r.checkpoints.open()); err != nil {
		return fmt.Errorf("reporter: %w", err)
	}
	return nil
}

func (r *Reporter) next(ctx context.Context) bool {
	pod, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(pod)
	if again := r.syncPod(ctx, pod); again >= 0 {
		r.queue.AddAfter(pod, again)
	}
	return true
}

// Report takes the status of a bond. It is safe for concurrent use and does not block.
func (r *Reporter) Report(s bond.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.State == bond.StateDeleting {
		r.forget(s.Key)
		r.queueUnreleased(&s)
		return
	}
	pod, known := r.owner[s.Key]
	if !known {
		pod = r.podOf(&s)
		r.owner[s.Key] = pod
	}
	if pod == (bond.Pod{}) {
		return
	}
	p := r.pods[pod]
	if p == nil {
		p = &podEntry{pod: pod, bonds: map[bond.Key]*bondEntry{}, report: podReport{state: starting, since: time.Now()}}
		r.pods[pod] = p
	}
	e := p.bonds[s.Key]
	if e == nil {
		r.lastOrder++
		e = &bondEntry{order: r.lastOrder}
		p.bonds[s.Key] = e
	} else if reflect.DeepEqual(e.status, s) {
		return
	}
	e.status = s
	p.version++
	r.queue.Add(pod)
}

// Forget drops a bond whose record is gone. Nothing is reported with the last bond of a pod: the pod has ended.
func (r *Reporter) Forget(k bond.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unreleased, k)
	r.forget(k)
}

func (r *Reporter) forget(k bond.Key) {
	pod := r.owner[k]
	delete(r.owner, k)
	p := r.pods[pod]
	if p == nil {
		return
	}
	delete(p.bonds, k)
	p.version++
	p.notBefore = time.Now().Add(podEndDelay)
	if len(p.bonds) == 0 {
		delete(r.pods, pod)
	}
	r.queue.Add(pod)
}

// uidPattern is the form of a pod's UID: a UUID, or the digest of a static pod's manifest.
var uidPattern = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// podOf returns the pod of a bond that is new to the reporter, or an empty one if it is not known. The UID becomes a
// file name, and the rest part of a URL.
func (r *Reporter) podOf(s *bond.Status) bond.Pod {
	p := s.Pod
	if uidPattern.MatchString(p.UID) && validation.IsDNS1123Label(p.Namespace) == nil && validation.IsDNS1123Subdomain(p.Name) == nil {
		return p
	}
	r.c.Log.Warn("cannot report status: CNI_ARGS has no valid pod namespace, name and UID",
		zap.String("bond", s.Key.String()), zap.String("pod", p.String()), zap.String("uid", p.UID))
	return bond.Pod{}
}

// replacePrevious makes PreviousDir the directory of the checkpoints, if it exists.
func (r *Reporter) replacePrevious() error {
	if _, err := os.Lstat(r.c.PreviousDir); r.c.PreviousDir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(os.RemoveAll(r.c.Dir), os.Rename(r.c.PreviousDir, r.c.Dir))
}

// sweep deletes, once, the checkpoints of pods that ended while no agent ran.
func (r *Reporter) sweep(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(sweepDelay):
	}
	uids, err := r.checkpoints.uids()
	if err != nil {
		r.c.Log.Warn("cannot list status checkpoints", zap.Error(err))
		return
	}
	r.mu.Lock()
	known := map[string]bool{}
	for pod := range r.pods {
		known[pod.UID] = true
	}
	r.mu.Unlock()
	for _, u := range uids {
		if !known[u] {
			r.deleteCheckpoint(bond.Pod{UID: u})
		}
	}
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
