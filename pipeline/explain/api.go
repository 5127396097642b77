package explain

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Path is where explanations are served, below it NAMESPACE/NAME, in the
// envelope of Prometheus' HTTP API. The parameter since is a duration such as
// 30m; default an hour.
const Path = "/api/strata/v1/hpas/"

// maxSince is how far back one may ask.
const maxSince = 31 * 24 * time.Hour

// ServeHTTP implements http.Handler.
func (x *Explainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(code int, kind, text string) {
		reply(w, code, map[string]any{"status": "error", "errorType": kind, "error": text})
	}
	at := strings.LastIndex(r.URL.Path, Path)
	namespace, name, ok := strings.Cut(r.URL.Path[at+len(Path):], "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		fail(http.StatusNotFound, "not_found", "ask for "+Path+"NAMESPACE/NAME")
		return
	}
	since := DefaultSince
	if s := r.FormValue("since"); s != "" {
		d, err := model.ParseDuration(s)
		if err != nil || d <= 0 || time.Duration(d) > maxSince {
			fail(http.StatusBadRequest, "bad_data", "since: a duration such as 30m, at most "+model.Duration(maxSince).String()+", not "+s)
			return
		}
		since = time.Duration(d)
	}
	h, err := x.HPA(r.Context(), namespace, name, x.o.Now().Add(-since))
	switch {
	case apierrors.IsNotFound(err):
		fail(http.StatusNotFound, "not_found", err.Error())
	case apierrors.IsForbidden(err):
		fail(http.StatusForbidden, "forbidden", err.Error())
	case err != nil:
		fail(http.StatusServiceUnavailable, "unavailable", err.Error())
	default:
		reply(w, http.StatusOK, map[string]any{"status": "success", "data": h})
	}
}

// Unavailable answers for a server that is connected to no cluster: there is no
// explanation, and a remark that says why.
func Unavailable() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"status": "success", "data": nil, "infos": []string{"this server is connected to no cluster"}})
	})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
