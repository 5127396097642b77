package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// table is differences.yaml.
type table struct {
	Adapter []struct {
		Why, Contains string
		Requests      []string
		Status        int
		Live          bool
	}
	MetricsServer []struct {
		Why, At, Contains string
		Pods, Requests    []string
		Status            int
	}
}

func differences(t *testing.T) table {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared.Root, "test", "compat", "differences.yaml"))
	require.NoError(t, err)
	var d table
	require.NoError(t, yaml.UnmarshalStrict(data, &d))
	return d
}

// adapterDifference is how an answer differs from the recorded one, and why.
type adapterDifference struct {
	Why, Contains string
	Status        int
}

type adapterTable map[string]adapterDifference

func (a adapterTable) keys() []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	return keys
}

func adapterDifferences(t *testing.T) adapterTable {
	t.Helper()
	byID := adapterTable{}
	for _, d := range differences(t).Adapter {
		for _, id := range d.Requests {
			require.NotContains(t, byID, id, "listed twice")
			require.NotEmpty(t, d.Why, id)
			byID[id] = adapterDifference{d.Why, d.Contains, d.Status}
		}
	}
	return byID
}

// tally counts the answers to one set of recorded requests.
type tally struct {
	what      string
	right, of int
	seen      map[string]bool // of the listed differences, those that there are
	wrong     []string        // what differs and is not listed, or not as listed
}

func (y *tally) count(t *testing.T, right, of string) {
	t.Helper()
	r, err := strconv.Atoi(right)
	require.NoError(t, err)
	n, err := strconv.Atoi(of)
	require.NoError(t, err)
	y.right, y.of = y.right+r, y.of+n
}

// report prints the line that people and CI look for.
func (y *tally) report(t *testing.T, listed []string) {
	t.Helper()
	fmt.Printf("compat %s right=%d of=%d differs=%d\n", y.what, y.right, y.of, len(y.seen))
	slices.Sort(listed)
	for _, key := range listed {
		if !y.seen[key] {
			t.Errorf("%s: listed in differences.yaml as different and is not", key)
		}
	}
	for _, w := range y.wrong {
		t.Error(w)
	}
	require.Equal(t, y.of, y.right+len(y.seen), "answers that differ and are not listed")
}
