package explain

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strata-metrics/strata/internal/serve"
)

// Path is where explanations are served, below it NAMESPACE/NAME, in the
// envelope of Prometheus' HTTP API. The parameter since is a duration such as
// 30m; default an hour.
const Path = "/api/strata/v1/hpas/"

// maxSince is how far back one may ask.
const maxSince = 31 * 24 * time.Hour

// ServeHTTP implements http.Handler.
func (x *Explainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := strings.LastIndex(r.URL.Path, Path)
	namespace, name, ok := strings.Cut(r.URL.Path[at+len(Path):], "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		serve.AnswerError(w, http.StatusNotFound, "not_found", errors.New("ask for "+Path+"NAMESPACE/NAME"))
		return
	}
	since := DefaultSince
	if s := r.FormValue("since"); s != "" {
		d, err := model.ParseDuration(s)
		if err != nil || d <= 0 || time.Duration(d) > maxSince {
			serve.AnswerError(w, http.StatusBadRequest, "bad_data", fmt.Errorf("since: a duration such as 30m, at most %s, not %s", model.Duration(maxSince), s))
			return
		}
		since = time.Duration(d)
	}
	h, err := x.HPA(r.Context(), namespace, name, x.o.Now().Add(-since))
	switch {
	case apierrors.IsNotFound(err):
		serve.AnswerError(w, http.StatusNotFound, "not_found", err)
	case apierrors.IsForbidden(err):
		serve.AnswerError(w, http.StatusForbidden, "forbidden", err)
	case err != nil:
		serve.AnswerError(w, http.StatusServiceUnavailable, "unavailable", err)
	default:
		serve.Answer(w, h)
	}
}

// Unavailable answers for a server that is connected to no cluster: there is no
// explanation, and a remark that says why.
func Unavailable() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		serve.Answer(w, (*HPA)(nil), "this server is connected to no cluster")
	})
}
