package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Sample is one value at one time of a series.
type Sample struct {
	Series string // its labels as JSON, sorted by name
	Millis int64
	Value  string
}

// ErrNoResult says that a query had an empty result.
var ErrNoResult = errors.New("no result")

// Query runs an instant query over HTTP and gives all samples of its result,
// which may be a vector or a matrix. The zero time means now.
func Query(ctx context.Context, server, expr string, at time.Time) ([]Sample, error) {
	form := url.Values{"query": {expr}}
	if !at.IsZero() {
		form.Set("time", strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/query?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  *pair
				Values []pair
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query %s: %s: %w", expr, resp.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query %s: %s", expr, answer.Error)
	}
	var all []Sample
	for _, r := range answer.Data.Result {
		series, err := json.Marshal(r.Metric)
		if err != nil {
			return nil, err
		}
		if r.Value != nil {
			r.Values = append(r.Values, *r.Value)
		}
		for _, v := range r.Values {
			all = append(all, Sample{string(series), v.millis, v.value})
		}
	}
	return all, nil
}

// pair is [seconds, "value"].
type pair struct {
	millis int64
	value  string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *pair) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &[]any{&seconds, &p.value}); err != nil {
		return err
	}
	p.millis = int64(seconds*1000 + 0.5)
	return nil
}
