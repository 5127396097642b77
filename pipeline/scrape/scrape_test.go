package scrape

import (
	"testing"

	"github.com/alecthomas/units"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

type nowhere struct{ storage.AppendableV2 }

// The error of a body that is too large says who set the limit.
func TestBodySizeError(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Store: nowhere{}, DefaultBodySizeLimit: 50 * units.MiB})
	require.NoError(t, err)
	f := func(limit units.Base2Bytes, want string) {
		t.Helper()
		err := s.bodySizeError(&config.ScrapeConfig{BodySizeLimit: limit})
		require.ErrorIs(t, err, ErrBodySize)
		require.EqualError(t, err, want)
	}
	f(50*units.MiB, "body is larger than the limit of 50MiB, the default of --scrape.body-size-limit-default; set body_size_limit in the job to allow more")
	f(units.MiB, "body is larger than the limit of 1MiB, the job's body_size_limit")
	m, err := s.Get()
	require.NoError(t, err)
	require.NotNil(t, m)
	require.Empty(t, s.TargetsActive())

	_, err = New(Options{})
	require.ErrorContains(t, err, "make the scrape manager")
}
