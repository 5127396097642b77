package metricrule

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/adapter"
	"github.com/strata-metrics/strata/pipeline/query"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*loggingT).flushDaemon"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

// testTime is when samples are taken and queries evaluated.
func testTime() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// put stores a series of two minutes whose last value is v.
func put(t testing.TB, st storage.Appendable, v float64, pairs ...string) {
	t.Helper()
	app := st.Appender(context.Background())
	for back := 120; back >= 0; back -= 15 {
		_, err := app.Append(0, labels.FromStrings(pairs...), testTime().Add(-time.Duration(back)*time.Second).UnixMilli(), v*float64(240-back)/240)
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
}

// newAdapter is an adapter over a store, in a cluster with the usual resources.
func newAdapter(t testing.TB, st storage.Queryable, rules string) *adapter.Adapter {
	t.Helper()
	engine := query.NewEngine(query.Options{})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	m := meta.NewDefaultRESTMapper(nil)
	for kind, scope := range map[string]meta.RESTScope{"Pod": meta.RESTScopeNamespace, "Service": meta.RESTScopeNamespace, "Namespace": meta.RESTScopeRoot, "Node": meta.RESTScopeRoot} {
		m.Add(schema.GroupVersionKind{Version: "v1", Kind: kind}, scope)
	}
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	a, err := adapter.New(adapter.Options{
		Querier: adapter.NewLocal(st, func(q storage.Queryable) adapter.Querier { return query.NewQuerier(engine, q) }),
		Mapper:  m, Now: testTime, Builtin: &adapter.Builtin{},
	})
	require.NoError(t, err)
	c, err := adapter.ParseConfig("rules.yaml", []byte(rules))
	require.NoError(t, err)
	require.NoError(t, a.Load(c))
	return a
}

func newStore(t testing.TB) *teststorage.TestStorage {
	t.Helper()
	return teststorage.New(t)
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}
