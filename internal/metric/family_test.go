package metric

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	t.Parallel()
	f := func(want string, s Spec) {
		t.Helper()
		got, err := New(s)
		if want != "" {
			require.ErrorIs(t, err, ErrInvalid)
			require.ErrorContains(t, err, want)
			return
		}
		require.NoError(t, err)
		require.Equal(t, s.Name, got.Name())
		require.Equal(t, Stable, got.Spec().Stability)
	}
	f("", Spec{Name: "node_load1"})
	f("", Spec{Name: "job:up:sum", Labels: []string{"a", "_b", "c9"}})
	f(`name ""`, Spec{})
	f(`name "9a"`, Spec{Name: "9a"})
	f(`name "a-b"`, Spec{Name: "a-b"})
	f(`name "é"`, Spec{Name: "é"})
	f(`label ""`, Spec{Name: "a", Labels: []string{""}})
	f(`label "a:b"`, Spec{Name: "a", Labels: []string{"a:b"}})
	f(`label "__name__"`, Spec{Name: "a", Labels: []string{"__name__"}})
	f(`label "x" twice`, Spec{Name: "a", Labels: []string{"x", "x"}})
}

func TestDeclaredMistakesPanic(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { NewCounter("no spaces", "") })
	load := NewGauge("load", "")
	b := NewBatch()
	require.Panics(t, func() { b.Add(load, 1, "a label it has not") })
	require.Panics(t, func() { b.AddExtra(load, 1, nil, []string{"name"}, nil) })
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a, again, b := NewGauge("a", ""), NewCounter("a", ""), NewGauge("b", "")
	require.NoError(t, Check([]*Family{a, b, a}))
	require.ErrorContains(t, Check([]*Family{a, b, again}), "a is declared twice")
}

func TestSanitizeName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                "",
		"Active_anon":     "Active_anon",
		"Active(anon)":    "Active_anon_",
		"app.k8s.io/name": "app_k8s_io_name",
		"é":               "__",
	} {
		require.Equal(t, want, SanitizeName(in))
	}
}
