package adapter

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	klabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strata-metrics/strata/pipeline/query"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*loggingT).flushDaemon"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

// testTime is when everything happens.
func testTime() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// oracleDir is the reference data beside the repository.
func oracleDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/oracle/adapter")
	require.NoError(t, err)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference data of prometheus-adapter: %v", err)
	}
	return dir
}

// local is a Local over a store, with a real engine.
func local(t testing.TB, q storage.Queryable) *Local {
	t.Helper()
	engine := query.NewEngine(query.Options{})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	return NewLocal(q, func(q storage.Queryable) Querier { return query.NewQuerier(engine, q) })
}

// sample is one of load's.
type sample struct {
	labels labels.Labels
	at     time.Time
	value  float64
}

func load(t testing.TB, st storage.Appendable, samples ...sample) {
	t.Helper()
	app := st.Appender(context.Background())
	for _, s := range samples {
		_, err := app.Append(0, s.labels, s.at.UnixMilli(), s.value)
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
}

// series parses {a="b"} or name{a="b"}.
func series(name string, pairs ...string) labels.Labels {
	return labels.FromStrings(append([]string{model.MetricNameLabel, name}, pairs...)...)
}

// mapper is a cluster with the usual resources.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for gv, kinds := range map[string]string{
		"v1":                   "Pod Service Endpoints Secret ConfigMap -Node -Namespace -PersistentVolume",
		"apps/v1":              "Deployment ReplicaSet StatefulSet",
		"batch/v1":             "Job CronJob",
		"networking.k8s.io/v1": "Ingress",
		"storage.k8s.io/v1":    "-StorageClass",
	} {
		parsed, err := schema.ParseGroupVersion(gv)
		if err != nil {
			panic(err)
		}
		for _, kind := range strings.Fields(kinds) {
			name, root := strings.CutPrefix(kind, "-")
			scope := meta.RESTScopeNamespace
			if root {
				scope = meta.RESTScopeRoot
			}
			m.Add(parsed.WithKind(name), scope)
		}
	}
	return m
}

// objects is an ObjectLister of objects that are known beforehand.
type objects []metav1.PartialObjectMetadata

func (o objects) ObjectNames(_ context.Context, gvr schema.GroupVersionResource, namespace string, s klabels.Selector) (*Selection, error) {
	var names []string
	for _, m := range o {
		plural, _ := meta.UnsafeGuessKindToResource(m.GroupVersionKind())
		if plural == gvr && m.Namespace == namespace && s.Matches(klabels.Set(m.Labels)) {
			names = append(names, m.Name)
		}
	}
	return Select(names...), nil
}

// pods are objects for tests, ns/name.
func pods(names ...string) objects {
	var out objects
	for _, n := range names {
		ns, name, _ := strings.Cut(n, "/")
		out = append(out, metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"app": strings.SplitN(name, "-", 2)[0]}},
		})
	}
	return out
}

// oracleObjects are the objects of the reference data.
func oracleObjects(t testing.TB) objects {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(oracleDir(t), "objects", "objects.json"))
	require.NoError(t, err)
	var list struct{ Items objects }
	require.NoError(t, json.Unmarshal(data, &list))
	require.NotEmpty(t, list.Items)
	return list.Items
}

func (o objects) runtimeObjects() []runtime.Object {
	var out []runtime.Object
	for i := range o {
		out = append(out, &o[i])
	}
	return out
}

type fixture struct {
	*Adapter
	logs     *lines
	registry *prometheus.Registry
}

// newAdapter is an adapter with rules from text, at testTime.
func newAdapter(t testing.TB, o Options, rules string) *fixture {
	t.Helper()
	f := &fixture{logs: &lines{}, registry: prometheus.NewRegistry()}
	o.Registry = f.registry
	o.Logger = slog.New(slog.NewTextHandler(f.logs, nil))
	if o.Now == nil {
		o.Now = testTime
	}
	if o.Mapper == nil {
		o.Mapper = mapper()
	}
	var err error
	f.Adapter, err = New(o)
	require.NoError(t, err)
	c, err := ParseConfig("rules.yaml", []byte(rules))
	require.NoError(t, err)
	require.NoError(t, f.Load(c))
	return f
}

func newStore(t testing.TB) *teststorage.TestStorage {
	t.Helper()
	return teststorage.New(t)
}
