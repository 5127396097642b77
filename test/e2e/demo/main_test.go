package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newApp().routes())
	t.Cleanup(server.Close)
	f := func(path string, status int, body string) {
		t.Helper()
		resp, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, status, resp.StatusCode, path)
		require.Contains(t, string(data), body, path)
	}
	f("/", 200, "hello")
	f("/work?ms=1", 200, "turns")
	f("/work?ms=x", 400, "from 0 to 5000")
	f("/work?ms=5001", 400, "from 0 to 5000")
	f("/work?ms="+strings.Repeat("9", 30), 400, "from 0 to 5000")
	f("/error", 500, "always fails")
	f("/absent", 404, "")
	f("/metrics", 200, "\ndemo_orders_total 2\n")
}
