package journal

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/strata-metrics/strata/internal/serve"
)

// Path is where the entries are served, in the envelope of Prometheus' HTTP API.
// Parameters, all optional, are the fields of a Question under their JSON names,
// since (RFC 3339 or Unix seconds) and limit (default 100).
const Path = "/api/strata/v1/answers"

const defaultLimit = 100

// ServeHTTP implements http.Handler.
func (j *Journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r)
	if err != nil {
		serve.AnswerError(w, http.StatusBadRequest, "bad_data", err)
		return
	}
	serve.Answer(w, j.Entries(f))
}

func filterOf(r *http.Request) (Filter, error) {
	f := Filter{Limit: defaultLimit}
	to := map[string]*string{
		"api": &f.API, "namespace": &f.Namespace, "resource": &f.Resource, "object": &f.Object,
		"metric": &f.Metric, "selector": &f.Selector, "metricSelector": &f.MetricSelector,
	}
	for name, values := range r.URL.Query() {
		var err error
		switch field := to[name]; {
		case field != nil:
			*field = values[0]
		case name == "since":
			f.Since, err = parseTime(values[0])
		case name == "limit":
			f.Limit, err = strconv.Atoi(values[0])
			if err == nil && f.Limit < 0 {
				err = fmt.Errorf("%d is below 0", f.Limit)
			}
		default:
			err = errors.New("unknown; there are api, namespace, resource, object, metric, selector, metricSelector, since and limit")
		}
		if err != nil {
			return f, fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	return f, nil
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither RFC 3339 nor Unix seconds", s)
	}
	return time.UnixMilli(int64(seconds * 1000)), nil
}
