package metricsproxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/bondkeeper/bondkeeper/pkg/kubeapi"
)

var (
	errUnauthorized = errors.New("no valid token")
	errForbidden    = errors.New("no right to read the metrics")
)

const (
	// allowedFor is how long a token is accepted without another review. Scrapes continue for this time while the API
	// server is unavailable, and with a token or right that was revoked.
	allowedFor = 5 * time.Minute
	// knownFor is how long after that an accepted token is reviewed before tokens that are new.
	knownFor = time.Hour
	// maxAllowed bounds the tokens that are remembered.
	maxAllowed = 64
	// newTokens (per second) and newTokensBurst limit the reviews of tokens that are new. They may be invalid.
	newTokens, newTokensBurst = 5, 10
	// reviewTimeout bounds one request to the API server.
	reviewTimeout = 10 * time.Second
)

// authorizer has the API server review tokens and rights. Its limiter bounds the requests that invalid tokens cause. A
// token that was accepted before does not wait for it.
type authorizer struct {
	authn, authz rest.Interface
	limiter      flowcontrol.RateLimiter
	mu           sync.Mutex
	// allowed has the hashes of accepted tokens, and until when they are accepted.
	allowed map[[sha256.Size]byte]time.Time
}

func newAuthorizer(c *rest.Config) (*authorizer, error) {
	c = rest.CopyConfig(c)
	c.Timeout, c.RateLimiter = reviewTimeout, flowcontrol.NewFakeAlwaysRateLimiter()
	authn, err := kubeapi.New(c, authnv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	authz, err := kubeapi.New(c, authzv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &authorizer{
		authn: authn, authz: authz, allowed: map[[sha256.Size]byte]time.Time{},
		limiter: flowcontrol.NewTokenBucketRateLimiter(newTokens, newTokensBurst),
	}, nil
}

// authorize returns nil if the token's user may get the metrics. The error matches errUnauthorized or errForbidden if
// the API server decided so.
func (a *authorizer) authorize(ctx context.Context, token string) error {
	if token == "" {
		return errUnauthorized
	}
	hash := sha256.Sum256([]byte(token))
	if a.remembered(hash) {
		return nil
	}
	if !a.known(hash) {
		if err := a.limiter.Wait(ctx); err != nil {
			return fmt.Errorf("token review: %w", err)
		}
	}
	if err := a.review(ctx, token); err != nil {
		if errors.Is(err, errUnauthorized) || errors.Is(err, errForbidden) {
			a.forget(hash)
		}
		return err
	}
	a.remember(hash)
	return nil
}

func (a *authorizer) review(ctx context.Context, token string) error {
	identity, err := kubeapi.Create(ctx, a.authn, "", "tokenreviews", &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token}}, false)
	if err != nil {
		return fmt.Errorf("token review: %w", err)
	}
	if !identity.Status.Authenticated {
		return errUnauthorized
	}
	user := identity.Status.User
	extra := make(map[string]authzv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authzv1.ExtraValue(values)
	}
	may, err := kubeapi.Create(ctx, a.authz, "", "subjectaccessreviews", &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authzv1.NonResourceAttributes{Path: path, Verb: "get"},
	}}, false)
	if err != nil {
		return fmt.Errorf("access review: %w", err)
	}
	if !may.Status.Allowed || may.Status.Denied {
		return errForbidden
	}
	return nil
}

func (a *authorizer) remembered(hash [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.allowed[hash])
}

// known reports whether the token was accepted before.
func (a *authorizer) known(hash [sha256.Size]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.allowed[hash]
	return known
}

func (a *authorizer) forget(hash [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.allowed, hash)
}

func (a *authorizer) remember(hash [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(a.allowed, func(_ [sha256.Size]byte, until time.Time) bool { return now.Sub(until) > knownFor })
	if len(a.allowed) >= maxAllowed {
		clear(a.allowed)
	}
	a.allowed[hash] = now.Add(allowedFor)
}
