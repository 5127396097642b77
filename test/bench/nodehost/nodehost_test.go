package main

import (
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	f := func(line, want string) {
		t.Helper()
		require.Equal(t, want, series(line))
	}
	f("node_load1 0.5", "node_load1")
	f(`a{b="1"} 2`, `a{b="1"}`)
	f(`a{c="2",b="1"} 2`, `a{b="1",c="2"}`)
	f(`a{c="x,y}\" {",b="\\"} 2`, `a{b="\\",c="x,y}\" {"}`)
	f(`a{} 2`, `a{}`)
	f(`a{b="1`, `a{b="1`)
	require.Equal(t, map[string]bool{"node_load1": true, `node_x{a="b"}`: true},
		hostSeries("# HELP node_load1 x\nnode_load1 1\ngo_goroutines 3\nnode_scrape_collector_success{collector=\"x\"} 1\n\nnode_x{a=\"b\"} 1\nprocess_open_fds 1\n"))
}

func TestMallocs(t *testing.T) {
	t.Parallel()
	body := []byte("# TYPE go_memstats_mallocs_total counter\ngo_memstats_mallocs_total 1.5e+03\nx 1\n")
	n, err := mallocs(body, "identity")
	require.NoError(t, err)
	require.Equal(t, 1500.0, n)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(body)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	n, err = mallocs(zipped.Bytes(), "gzip")
	require.NoError(t, err)
	require.Equal(t, 1500.0, n)
	_, err = mallocs([]byte("x 1\n"), "identity")
	require.Error(t, err)
	_, err = mallocs(body, "gzip")
	require.Error(t, err)
}
