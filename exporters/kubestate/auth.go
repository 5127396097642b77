package kubestate

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// AuthFilter lets only those through whom the API server allows the path and
// the method of the request: it is asked whose the bearer token is, and what
// that account may do. Its answers are kept for a minute at most.
func AuthFilter(config *rest.Config, logger *slog.Logger) (func(http.Handler) http.Handler, error) {
	client, err := newClient(config, []apiGroup{
		{authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme},
		{authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme},
	})
	if err != nil {
		return nil, err
	}
	g := &guard{client: client, logger: logger, answers: make(map[question]answer), now: time.Now}
	return g.wrap, nil
}

// guard asks the API server about requests.
type guard struct {
	client *client
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	answers map[question]answer
}

// question is what an answer is kept for; of the token only a hash is kept.
type question struct {
	token        [sha256.Size]byte
	method, path string
}

type answer struct {
	status int // 200, 401 or 403
	until  time.Time
}

// Answers that are kept: for how long, and how many at most.
const (
	keepAllowed = time.Minute
	keepRefused = 10 * time.Second
	keepAnswers = 1000
)

func (g *guard) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch status, err := g.judge(r); {
		case err != nil:
			g.logger.Error("cannot ask the API server whether a request is allowed; this account needs create of tokenreviews and subjectaccessreviews",
				"path", r.URL.Path, "err", err)
			http.Error(w, "cannot tell whether this is allowed", http.StatusServiceUnavailable)
		case status != http.StatusOK:
			http.Error(w, http.StatusText(status), status)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (g *guard) judge(r *http.Request) (status int, err error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized, nil
	}
	q := question{sha256.Sum256([]byte(token)), strings.ToLower(r.Method), r.URL.Path}
	g.mu.Lock()
	known, ok := g.answers[q]
	g.mu.Unlock()
	if ok && g.now().Before(known.until) {
		return known.status, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	status, err = g.ask(ctx, token, q)
	if err == nil {
		g.keep(q, status)
	}
	return status, err
}

func (g *guard) keep(q question, status int) {
	keep := keepRefused
	if status == http.StatusOK {
		keep = keepAllowed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.answers) >= keepAnswers {
		clear(g.answers)
	}
	g.answers[q] = answer{status, g.now().Add(keep)}
}

func (g *guard) ask(ctx context.Context, token string, q question) (status int, err error) {
	who := authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := g.review(ctx, authenticationv1.SchemeGroupVersion, "tokenreviews", &who); err != nil {
		return 0, err
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	may := authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: q.path, Verb: q.method},
	}}
	for name, values := range user.Extra {
		if may.Spec.Extra == nil {
			may.Spec.Extra = make(map[string]authorizationv1.ExtraValue)
		}
		may.Spec.Extra[name] = authorizationv1.ExtraValue(values)
	}
	if err := g.review(ctx, authorizationv1.SchemeGroupVersion, "subjectaccessreviews", &may); err != nil {
		return 0, err
	}
	if !may.Status.Allowed {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// review sends an object and reads what the API server made of it.
func (g *guard) review(ctx context.Context, group schema.GroupVersion, resource string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	answer, err := g.client.groups[group].Post().MaxRetries(0).Resource(resource).Body(body).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("%s: %w", resource, err)
	}
	if err := json.Unmarshal(answer, object); err != nil {
		return fmt.Errorf("%s: %w", resource, err)
	}
	return nil
}
