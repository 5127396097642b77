package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/serve"
)

// A mistake in the command line is one line that names the flag, and a usage
// error, so that the status is 2.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		err := run(t.Context(), args)
		var usage *serve.UsageError
		require.ErrorAs(t, err, &usage)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	f("unknown long flag '--no-such-flag'", "--no-such-flag")
	f("--app.address is empty", "--app.address=")
	f(`app address "https://x" (--app.address): only http`, "--app.address=https://x")
	f(`route pattern "x" (--route.pattern)`, "--route.pattern=x")
}
