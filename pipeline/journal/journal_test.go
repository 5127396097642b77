package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*loggingT).flushDaemon"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

func at(seconds int) time.Time {
	return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// pods is an answer about pods of the namespace ns.
func pods(seconds int, values ...Value) *Entry {
	return &Entry{
		Time: at(seconds), Requester: "hpa", Rule: "rules[0]", Values: values,
		Question: Question{API: Custom, Namespace: "ns", Resource: "pods", Metric: "queue", Selector: "app=web"},
	}
}

func TestAsker(t *testing.T) {
	t.Parallel()
	as := func(name string) context.Context { return request.WithUser(t.Context(), &user.DefaultInfo{Name: name}) }
	j := New(Options{Autoscalers: []string{"hpa", "keda"}})
	require.Equal(t, "hpa", j.Asker(as("hpa")))
	require.Empty(t, j.Asker(as("alice")), "a person is no autoscaler")
	require.Empty(t, j.Asker(t.Context()))
	require.Empty(t, New(Options{}).Asker(as("hpa")))
	var none *Journal
	require.Empty(t, none.Asker(as("alice")))
	none.Record(pods(0))
	require.Empty(t, none.Entries(Filter{}))
}

// TestBounds: memory holds the newest, by time and by number of values.
func TestBounds(t *testing.T) {
	t.Parallel()
	j := New(Options{Keep: time.Minute, MaxValues: 10})
	for i := range 100 {
		j.Record(pods(i * 20))
	}
	require.Len(t, j.Entries(Filter{}), 4, "20 s apart, a minute is kept")
	for range 9 {
		j.Record(pods(2000, Value{Object: "a"}, Value{Object: "b"}))
	}
	require.Len(t, j.Entries(Filter{}), 3, "three times two values and the answer itself")
	j.Record(pods(2000, make([]Value, 50)...))
	require.Len(t, j.Entries(Filter{}), 1, "the newest stays, however large")
}

func TestFilter(t *testing.T) {
	t.Parallel()
	j := New(Options{})
	j.Record(pods(1))
	j.Record(pods(2))
	other := pods(3)
	other.Question = Question{API: External, Namespace: "ns", Metric: "queue"}
	j.Record(other)
	f := func(f Filter, want ...*Entry) {
		t.Helper()
		got := j.Entries(f)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i].Time, got[i].Time)
		}
	}
	f(Filter{}, pods(1), pods(2), pods(3))
	f(Filter{Limit: 2}, pods(2), pods(3))
	f(Filter{Question: Question{API: Custom}, Limit: 1}, pods(2))
	f(Filter{Question: Question{Selector: "app=web"}, Since: at(2)}, pods(2))
	f(Filter{Question: Question{Namespace: "other"}})
}

// read gives all samples of the store, as "labels value@second".
func read(t *testing.T, st storage.Queryable) []string {
	t.Helper()
	q, err := st.Querier(0, at(3600).UnixMilli())
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
	var out []string
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			ms, v := it.At()
			out = append(out, fmt.Sprintf("%s %g@%d", set.At().Labels(), v, (ms-at(0).UnixMilli())/1000))
		}
	}
	require.NoError(t, set.Err())
	return out
}

// run runs the journal until the function ends.
func run(t *testing.T, j *Journal) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

// TestSeries: each answer is a sample at its time; what was too old is an age
// and no value.
func TestSeries(t *testing.T) {
	t.Parallel()
	st := teststorage.New(t)
	j := New(Options{Store: st})
	end := run(t, j)
	j.Record(pods(10, Value{Object: "a", Value: 7, Time: at(8)}, Value{Object: "b", Value: 9, Time: at(-90), Stale: true}))
	j.Record(pods(10, Value{Object: "a", Value: 7, Time: at(8)})) // asked twice at once
	j.Record(pods(25, Value{Object: "a", Value: 8, Time: at(23)}))
	failed := pods(40)
	failed.Error = "none"
	j.Record(failed)
	const l = `api="custom", metric="queue", namespace="ns", `
	const r = `requester="hpa", resource="pods", rule="rules[0]", selector="app=web"}`
	want := []string{
		`{__name__="strata_autoscaler_answer", ` + l + `object="a", ` + r + ` 7@10`,
		`{__name__="strata_autoscaler_answer", ` + l + `object="a", ` + r + ` 8@25`,
		`{__name__="strata_autoscaler_answer_age_seconds", ` + l + `object="a", ` + r + ` 2@10`,
		`{__name__="strata_autoscaler_answer_age_seconds", ` + l + `object="a", ` + r + ` 2@25`,
		`{__name__="strata_autoscaler_answer_age_seconds", ` + l + `object="b", ` + r + ` 100@10`,
		`{__name__="strata_autoscaler_answer_failed", ` + l + r + ` 0@10`,
		`{__name__="strata_autoscaler_answer_failed", ` + l + r + ` 0@25`,
		`{__name__="strata_autoscaler_answer_failed", ` + l + r + ` 1@40`,
	}
	require.Eventually(t, func() bool { return len(read(t, st)) == len(want) }, 10*time.Second, time.Millisecond)
	require.Equal(t, want, read(t, st))
	end()
}

// refusing is a store that cannot be written to while full.
type refusing struct {
	storage.Appendable
	full chan bool
}

func (r *refusing) Appender(ctx context.Context) storage.Appender {
	if <-r.full {
		return refusal{}
	}
	return r.Appendable.Appender(ctx)
}

type refusal struct{ storage.Appender }

func (refusal) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, errors.New("full")
}
func (refusal) Rollback() error { return nil }

// TestStoreRefuses: what the store does not take stays in memory, and is
// counted.
func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	st := teststorage.New(t)
	full := make(chan bool)
	reg := prometheus.NewRegistry()
	j := New(Options{Store: &refusing{st, full}, Registry: reg})
	end := run(t, j)
	j.Record(pods(1))
	full <- true
	j.Record(pods(2))
	full <- false
	require.Eventually(t, func() bool { return len(read(t, st)) == 1 }, 10*time.Second, time.Millisecond)
	require.Len(t, j.Entries(Filter{}), 2)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP strata_journal_dropped_total Recorded answers that did not become series, since the store was behind or refused them.
# TYPE strata_journal_dropped_total counter
strata_journal_dropped_total 1
`), "strata_journal_dropped_total"))
	end()
}

func TestAPI(t *testing.T) {
	t.Parallel()
	j := New(Options{})
	j.Record(pods(1, Value{Object: "a", Value: 1.5, Time: at(0)}))
	j.Record(pods(20))
	get := func(query string) (int, string) {
		w := httptest.NewRecorder()
		j.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path+"?"+query, nil))
		require.True(t, json.Valid(w.Body.Bytes()))
		return w.Code, w.Body.String()
	}
	code, body := get("namespace=ns&limit=1&since=2026-06-01T12:00:00Z&metric=queue")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"success","data":[{"time":"2026-06-01T12:00:20Z","api":"custom","namespace":"ns","resource":"pods",
		"metric":"queue","selector":"app=web","requester":"hpa","rule":"rules[0]","values":null}]}`, body)
	_, body = get("since=" + fmt.Sprint(at(0).Unix()))
	require.Contains(t, body, `"values":[{"object":"a","value":1.5,"time":"2026-06-01T12:00:00Z"}]`)
	code, body = get("api=external")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"data":[]`)
	for query, want := range map[string]string{
		"what=1":     `parameter \"what\": unknown; there are api, namespace`,
		"since=noon": `\"noon\" is neither RFC 3339 nor Unix seconds`,
		"limit=-1":   "-1 is below 0",
		"limit=x":    "invalid syntax",
	} {
		code, body = get(query)
		require.Equal(t, http.StatusBadRequest, code)
		require.Contains(t, body, want)
	}
}

// BenchmarkRecord is what an answer of 1,500 pods costs its request.
func BenchmarkRecord(b *testing.B) {
	j := New(Options{})
	e := pods(0, make([]Value, 1500)...)
	b.ReportAllocs()
	for b.Loop() {
		j.Record(e)
	}
}
