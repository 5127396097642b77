package keda

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/strata-metrics/strata/pipeline/keda/externalscaler"
)

func TestParseTrigger(t *testing.T) {
	t.Parallel()
	good := func(want trigger, pairs ...string) {
		t.Helper()
		got, err := parseTrigger(ref(pairs...))
		require.NoError(t, err)
		require.Equal(t, want, *got)
	}
	good(trigger{Question{Namespace: "shop", Metric: "lag"}, 5, 0}, "metric", "lag", "threshold", "5")
	good(trigger{Question{Namespace: "shop", Metric: "lag", Selector: "a=1,b in (x,y)"}, 0.5, -1}, "metric", "lag", "selector", "b in (y,x),a=1", "threshold", "0.5", "activationThreshold", "-1")
	good(trigger{Question{Namespace: "shop", Query: "sum(x)", MaxAge: 2 * time.Minute}, 1e3, 0}, "query", " sum(x)\n", "threshold", " 1e3", "maxAge", "2m", "activationThreshold", "", "scalerAddress", "s:1", "enableTLS", "true")

	bad := func(want string, pairs ...string) {
		t.Helper()
		_, err := parseTrigger(ref(pairs...))
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.ErrorContains(t, err, want)
	}
	bad("scalerMetadata.metric: neither metric nor query", "threshold", "5")
	bad("scalerMetadata.query: both", "metric", "a", "query", "b", "threshold", "5")
	bad("scalerMetadata.selector: it goes with metric", "query", "a", "selector", "b=c", "threshold", "5")
	bad("scalerMetadata.selector: ", "metric", "a", "selector", "b=(", "threshold", "5")
	bad("scalerMetadata.maxAge: it goes with query", "metric", "a", "maxAge", "1m", "threshold", "5")
	bad(`scalerMetadata.maxAge: "1" is not a duration`, "query", "a", "maxAge", "1", "threshold", "5")
	bad("scalerMetadata.metric: \"a/b\" has a slash", "metric", "a/b", "threshold", "5")
	bad("scalerMetadata.threshold: it is missing", "metric", "a")
	bad(`scalerMetadata.threshold: "0" is not above 0`, "metric", "a", "threshold", "0")
	bad(`scalerMetadata.threshold: "NaN" is not a number`, "metric", "a", "threshold", "NaN")
	bad(`scalerMetadata.activationThreshold: "x" is not a number`, "metric", "a", "threshold", "1", "activationThreshold", "x")
	bad("scalerMetadata.treshold: Strata has no such field; there are metric, selector, query", "metric", "a", "treshold", "1")
	bad("scalerMetadata.metric: it is longer", "metric", strings.Repeat("a", maxField+1), "threshold", "1")
	_, err := parseTrigger(&pb.ScaledObjectRef{})
	require.ErrorContains(t, err, "namespace: it is empty")
	_, err = parseTrigger(nil)
	require.ErrorContains(t, err, "namespace: it is empty")
}

func FuzzParseTrigger(f *testing.F) {
	f.Add("metric", "lag", "selector", "a in (b,c),!d", "threshold", "5")
	f.Add("query", "sum(rate(x[1m]))", "maxAge", "1h30m", "threshold", "1e-3")
	f.Add("activationThreshold", "-Inf", "scalerAddress", "", "metric", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string) {
		got, err := parseTrigger(ref(k1, v1, k2, v2, k3, v3))
		if err != nil {
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			return
		}
		require.Positive(t, got.threshold)
		require.True(t, finite(got.threshold) && finite(got.activation))
		require.NotEqual(t, got.question.Metric == "", got.question.Query == "")
		require.NotEmpty(t, got.metric())
		// A selector in its own form is the same question again.
		if got.question.Selector != "" {
			again, err := parseTrigger(ref("metric", got.question.Metric, "selector", got.question.Selector, "threshold", "1"))
			require.NoError(t, err)
			require.Equal(t, got.question, again.question)
		}
	})
}

// However many streams ask the same, it is evaluated once an interval; who
// comes later hears what is known at once; when all have gone it ends.
func TestWatchesShareEvaluations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0.0
		w := &watches{interval: 5 * time.Second, open: map[Question]*watch{}, changed: func(Question, error) {},
			evaluate: func(context.Context, Question) (float64, error) { n++; return n, nil }}
		q := Question{Metric: "lag"}
		var leave []func()
		var places []<-chan answer
		for range 10 {
			p, l := w.subscribe(q)
			places, leave = append(places, p), append(leave, l)
		}
		synctest.Wait()
		for _, p := range places {
			require.Equal(t, answer{value: 1}, <-p)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.Equal(t, 3.0, n)
		for _, p := range places {
			require.Equal(t, answer{value: 3}, <-p, "who is slow gets the latest")
		}
		late, l := w.subscribe(q)
		require.Equal(t, answer{value: 3}, <-late)
		l()
		for _, l := range leave {
			l()
		}
		w.wait()
		time.Sleep(time.Minute)
		require.Equal(t, 3.0, n)
		require.Zero(t, w.count())

		_, l = w.subscribe(q) // and begins again
		synctest.Wait()
		require.Equal(t, 4.0, n)
		l()
		w.wait()
	})
}
