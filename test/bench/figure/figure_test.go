package figure

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFigure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f     Figure
		line  string
		holds bool
	}{
		{Figure{"p99", 1.5, 200, 2, AtMost, "ms"}, "figure p99 ours=1.5 peer=200 ratio=0.0075 goal=<=2 unit=ms", true},
		{Figure{"p99", 2.5, 200, 2, AtMost, "ms"}, "figure p99 ours=2.5 peer=200 ratio=0.0125 goal=<=2 unit=ms", false},
		{Figure{"rate", 5123.4, Unknown(), 5000, AtLeast, "1/s"}, "figure rate ours=5123 peer=- ratio=- goal=>=5000 unit=1/s", true},
		{Figure{"rate", 4123, Unknown(), 5000, AtLeast, "1/s"}, "figure rate ours=4123 peer=- ratio=- goal=>=5000 unit=1/s", false},
		{Figure{"rss", 50, 100, 0.5, RatioAtMost, "MB"}, "figure rss ours=50 peer=100 ratio=0.5 goal=ratio<=0.5 unit=MB", true},
		{Figure{"rss", 51, 100, 0.5, RatioAtMost, "MB"}, "figure rss ours=51 peer=100 ratio=0.51 goal=ratio<=0.5 unit=MB", false},
		{Figure{"rss", 51, Unknown(), 0.5, RatioAtMost, "MB"}, "figure rss ours=51 peer=- ratio=- goal=ratio<=0.5 unit=MB", false},
		{Figure{"told", 7, Unknown(), 0, Report, "s"}, "figure told ours=7 peer=- ratio=- goal=- unit=s", true},
		{Figure{"told", Unknown(), Unknown(), 0, Report, "s"}, "figure told ours=- peer=- ratio=- goal=- unit=s", false},
	} {
		require.Equal(t, c.line, c.f.String())
		require.Equal(t, c.holds, c.f.Holds(), c.line)
	}
}

func TestReporter(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := NewReporter(&out)
	r.Add(Figure{"a", 1, Unknown(), 2, AtMost, "s"})
	r.Note("%d cores", 2)
	require.NoError(t, r.Err())
	r.Add(Figure{"b", 3, Unknown(), 2, AtMost, "s"})
	require.EqualError(t, r.Err(), "short of the goal: b")
	require.Equal(t, 2, strings.Count(out.String(), "figure "))
	require.Contains(t, out.String(), "# 2 cores\n")
}
