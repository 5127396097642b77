package scrape

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// The type of a metric is what its targets say, whatever relabelling calls the
// job.
func TestMetricType(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte("# TYPE odd_total gauge\nodd_total 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"))
	}))
	t.Cleanup(target.Close)
	conf, err := config.Load("global: {scrape_interval: 50ms, scrape_timeout: 50ms}\nscrape_configs: [{job_name: j}]\n", nil)
	require.NoError(t, err)
	s, err := New(Options{Store: teststorage.New(t)})
	require.NoError(t, err)
	require.NoError(t, s.ApplyConfig(conf))
	targets := make(chan map[string][]*targetgroup.Group, 1)
	targets <- map[string][]*targetgroup.Group{"j": {{Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(strings.TrimPrefix(target.URL, "http://"))}}}}}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(targets) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool {
		s.types.mu.Lock()
		s.types.known = nil
		s.types.mu.Unlock()
		return s.MetricType("j", "h") == model.MetricTypeHistogram
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, model.MetricTypeGauge, s.MetricType("j", "odd_total"))
	require.Equal(t, model.MetricTypeGauge, s.MetricType("renamed", "odd_total"))
	require.Equal(t, model.MetricTypeUnknown, s.MetricType("j", "none"))
	require.Equal(t, model.MetricTypeHistogram, s.MetricType("j", "h"), "remembered")
}

// What is remembered is bounded and ends.
func TestTypesForget(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	var ts types
	ts.put(typeKey{"j", "a"}, model.MetricTypeGauge, now)
	ts.put(typeKey{"j", "b"}, model.MetricTypeUnknown, now)
	f := func(family string, after time.Duration, want bool) {
		t.Helper()
		_, ok := ts.get(typeKey{"j", family}, now.Add(after))
		require.Equal(t, want, ok)
	}
	f("a", typeFor-1, true)
	f("a", typeFor, false)
	f("b", noTypeFor-1, true)
	f("b", noTypeFor, false)
	f("c", 0, false)
	for i := range maxTypes + 10 {
		ts.put(typeKey{"j", strings.Repeat("x", i%7) + time.Duration(i).String()}, model.MetricTypeGauge, now)
	}
	require.LessOrEqual(t, len(ts.known), maxTypes)
}
