package serve

import (
	"io"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

// TestParse holds that command lines of programs that read them with Go's flag
// package or pflag are understood.
func TestParse(t *testing.T) {
	t.Parallel()
	type given struct {
		Shared, On bool
		Port       string
		Every      time.Duration
		Rest       []string
	}
	parse := func(args ...string) (given, error) {
		var g given
		app := kingpin.New("p", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
		app.Flag("shared", "").BoolVar(&g.Shared)
		c := app.Command("c", "")
		c.Flag("on_by_default", "").Default("true").BoolVar(&g.On)
		c.Flag("port", "").Default("1").StringVar(&g.Port)
		c.Flag("every", "").DurationVar(&g.Every)
		c.Arg("rest", "").StringsVar(&g.Rest)
		// Here a value is wanted, so that of no command it may be taken off.
		other := app.Command("other", "")
		other.Flag("port", "").Bool()
		_, err := Parse(app, append([]string{"c"}, args...))
		return g, err
	}
	for _, one := range []struct {
		args []string
		want given
	}{
		{nil, given{On: true, Port: "1"}},
		{[]string{"--shared=true", "--on_by_default=false"}, given{Shared: true, Port: "1"}},
		{[]string{"--shared=T", "--on_by_default=0"}, given{Shared: true, Port: "1"}},
		{[]string{"-shared", "-on_by_default=true", "-port=true", "-every", "2s"}, given{Shared: true, On: true, Port: "true", Every: 2 * time.Second}},
		{[]string{"--no-on_by_default", "x", "--", "--shared=true", "-port"}, given{Port: "1", Rest: []string{"x", "--shared=true", "-port"}}},
	} {
		got, err := parse(one.args...)
		require.NoError(t, err, one.args)
		require.Equal(t, one.want, got, one.args)
	}
	for _, arg := range []string{"--shared=maybe", "-ports=1", "--=true", "-"} {
		_, err := parse(arg)
		var usage *UsageError
		if arg == "-" { // an argument like another
			require.NoError(t, err)
			continue
		}
		require.ErrorAs(t, err, &usage, arg)
		require.NotContains(t, err.Error(), "\n", arg)
	}
}

// TestKlog holds what klog's flags do to the log.
func TestKlog(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) (level, format string, err error) {
		app := kingpin.New("p", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
		f := &Flags{}
		f.Log(app)
		f.Klog(app)
		_, err = Parse(app, args)
		return f.log.Level.String(), f.log.Format.String(), err
	}
	for _, one := range []struct {
		level, format string
		args          []string
	}{
		{"info", "logfmt", []string{"--v=2"}},
		{"info", "logfmt", []string{"-v=2"}},
		{"info", "logfmt", []string{"-v2"}},
		{"info", "logfmt", []string{"-v", "3"}},
		{"debug", "logfmt", []string{"-v=4"}},
		{"debug", "json", []string{"--v", "10", "--logging-format=json"}},
		{"info", "logfmt", []string{"--logtostderr=true", "-alsologtostderr", "--stderrthreshold=INFO", "--vmodule=a=4", "--log_dir=", "--skip_headers", "--logging-format=text"}},
	} {
		level, format, err := parse(one.args...)
		require.NoError(t, err, one.args)
		require.Equal(t, one.level, level, one.args)
		require.Equal(t, one.format, format, one.args)
	}
	for want, args := range map[string][]string{
		`-v: "high" is not a number from 0 on`:                                        {"--v=high"},
		`-v: "=-1" is not a number from 0 on`:                                         {"-v=-1"},
		`--logging-format: "xml" is neither text nor json`:                            {"--logging-format=xml"},
		"--log_file=/var/log/x: the log goes to stderr; leave the flag out, and send": {"--log_file=/var/log/x"},
	} {
		_, _, err := parse(args...)
		require.ErrorContains(t, err, want)
	}
}
