package status

import (
	"context"
	"fmt"
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

// Config is what a Reporter is made of; API, Node and Dir are required.
type Config struct {
	// API is how the API server is reached. Timeout, rate limit and content type are the
	// reporter's own; the rest is taken as it is.
	API *rest.Config
	// Node is the node's name, which stands in events.
	Node string
	// Dir is the directory in which the reporter keeps what it told, so that a restart repeats
	// nothing. It is the reporter's alone, and made if missing.
	Dir string
	// Rate and Burst bound all requests of this node, events included: Burst at once, Rate a
	// second after that. Default 2 and 10.
	Rate  float32
	Burst int
	// Window is the least time between two patches of one pod. It doubles with every patch, up to
	// LastWindow, and is as short as ever when a pod had none for twice LastWindow. Default 1 s and
	// 30 s.
	Window, LastWindow time.Duration
	// NetworkWait is how long a pod is left alone that Multus has not written its network status
	// on. Default 30 s.
	NetworkWait time.Duration
	// NetworkStatus is called with each pod on which Multus' network status was found, by several goroutines. It may be
	// nil and must not block.
	NetworkStatus func(bond.Pod)
	// Timeout bounds one request. Default 15 s.
	Timeout time.Duration
	// Log may be nil.
	Log *zap.Logger
}

const (
	// senders is how many pods are attended to at once: a request that hangs holds up no other.
	senders = 4
	// ending is how long a pod's other bonds wait after one was forgotten. At a pod's end all go,
	// one by one, and nothing needs to be told.
	ending = 10 * time.Second
	// settling is how long a restarted agent waits for the bonds that the pod was told of before.
	settling = 30 * time.Second
	// sweepAfter is when the files of pods that nobody spoke of are cleared away.
	sweepAfter = 10 * time.Minute
)

// Reporter tells pods how their bonds are: by an annotation, a condition and events. Tell and
// Forget never wait for anything but memory; Run does the rest.
type Reporter struct {
	c       Config
	api     *api
	queue   workqueue.TypedDelayingInterface[bond.Pod]
	limiter flowcontrol.RateLimiter
	gate    gate
	ledger  ledger
	events  record.EventRecorder // set by Run before anybody uses it
	metrics metrics

	mu   sync.Mutex
	pods map[bond.Pod]*podState
	// owner leads from a bond to its pod; to an empty one when its pod cannot be told.
	owner map[bond.Key]bond.Pod
	// unreleased are the bonds of which there was an event that their addresses remain allocated; failures has those to come.
	unreleased map[bond.Key]bool
	failures   chan unreleased
	heard      int // statuses so far; orders bonds by when they were first told of
}

// NewReporter makes a Reporter. The error is about the configuration; the API server is not
// asked anything.
func NewReporter(c Config) (*Reporter, error) {
	c.defaults()
	if c.API == nil || c.Node == "" || c.Dir == "" {
		return nil, fmt.Errorf("reporter: API, Node (%q) and Dir (%q) are required", c.Node, c.Dir)
	}
	limiter := flowcontrol.NewTokenBucketRateLimiter(c.Rate, c.Burst)
	api, err := newAPI(c.API, c.Timeout)
	if err != nil {
		return nil, fmt.Errorf("reporter: client of the API server: %w", err)
	}
	return &Reporter{
		c: c, api: api, limiter: limiter, metrics: newMetrics(), ledger: ledger{c.Dir},
		gate:  gate{first: time.Second, last: time.Minute},
		queue: workqueue.NewTypedDelayingQueue[bond.Pod](),
		pods:  map[bond.Pod]*podState{}, owner: map[bond.Key]bond.Pod{},
		unreleased: map[bond.Key]bool{}, failures: make(chan unreleased, maxUnreleased),
	}, nil
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

// Run sends until ctx ends; it is called once. The error is about Dir.
func (r *Reporter) Run(ctx context.Context) error {
	defer r.queue.ShutDown()
	if err := r.ledger.open(); err != nil {
		return fmt.Errorf("reporter: %w", err)
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
	all.Go(func() { r.announceUnreleased(ctx) })
	all.Go(func() { r.sweep(ctx) })
	all.Wait()
	return nil
}

func (r *Reporter) next(ctx context.Context) bool {
	pod, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(pod)
	if again := r.attend(ctx, pod); again >= 0 {
		r.queue.AddAfter(pod, again)
	}
	return true
}

// Tell notes how a bond is now. It may be called at any time, by anyone, and returns at once.
func (r *Reporter) Tell(s bond.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.State == bond.StateDeleting {
		r.forget(s.Key)
		r.noteUnreleased(&s)
		return
	}
	pod, known := r.owner[s.Key]
	if !known {
		pod = r.admit(&s)
		r.owner[s.Key] = pod
	}
	if pod == (bond.Pod{}) {
		return
	}
	p := r.pods[pod]
	if p == nil {
		p = &podState{pod: pod, since: time.Now(), bonds: map[bond.Key]*heard{}}
		r.pods[pod] = p
	}
	h := p.bonds[s.Key]
	if h == nil {
		r.heard++
		h = &heard{order: r.heard}
		p.bonds[s.Key] = h
	} else if reflect.DeepEqual(h.status, s) {
		return
	}
	h.status = s
	p.version++
	r.queue.Add(pod)
}

// Forget drops a bond whose record has gone. The last bond of a pod goes without a word: the
// pod has ended.
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
	p.notBefore = later(p.notBefore, time.Now().Add(ending))
	if len(p.bonds) == 0 {
		delete(r.pods, pod)
	}
	r.queue.Add(pod)
}

// uid is the form of a pod's UID: a UUID, or the digest of a static pod's manifest.
var uid = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// admit is the pod of a bond that is told of for the first time; an empty one when it is
// not known which pod that is. The UID becomes a file name and the rest a URL.
func (r *Reporter) admit(s *bond.Status) bond.Pod {
	p := s.Pod
	if uid.MatchString(p.UID) && validation.IsDNS1123Label(p.Namespace) == nil && validation.IsDNS1123Subdomain(p.Name) == nil {
		return p
	}
	r.c.Log.Warn("the bond's pod cannot be told how its bond is: CNI_ARGS had no namespace, name and UID that a pod may have",
		zap.String("bond", s.Key.String()), zap.String("pod", p.String()), zap.String("uid", p.UID))
	return bond.Pod{}
}

// sweep clears away, once, what was told to pods that have ended while no agent ran.
func (r *Reporter) sweep(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(sweepAfter):
	}
	uids, err := r.ledger.uids()
	if err != nil {
		r.c.Log.Warn("what was told to pods cannot be listed", zap.Error(err))
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
			r.unsay(bond.Pod{UID: u})
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
