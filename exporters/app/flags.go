package app

import (
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
)

// Flags are those of the sidecar, read by Options after the command line was
// parsed.
type Flags struct {
	options Options
	limit   units.Base2Bytes
}

// NewFlags declares --app.*, --proxy.listen-address, --route.* and
// --shutdown.timeout.
func NewFlags(app *kingpin.Application) *Flags {
	f := &Flags{options: DefaultOptions()}
	o := &f.options
	duration := func(name, help string, target *time.Duration) {
		app.Flag(name, help).Default(target.String()).DurationVar(target)
	}
	app.Flag("app.address", "Where the app listens: host:port, or a URL of the scheme http.").
		Default(o.App).StringVar(&o.App)
	app.Flag("app.metrics-path", "Where the app has metrics of its own; empty when it has none.").
		Default(o.MetricsPath).StringVar(&o.MetricsPath)
	duration("app.metrics-timeout", "How long to wait for the app's metrics.", &o.MetricsTimeout)
	app.Flag("app.metrics-limit", "How long the app's metrics may be, such as 16MB; longer ones are not taken.").
		Default("16MB").BytesVar(&f.limit)
	app.Flag("proxy.listen-address", "Address for the traffic to the app.").
		Default(o.Listen).StringVar(&o.Listen)
	app.Flag("route.pattern", "Template of a route, such as /api/orders/{id} or /files/{path...}; may be repeated. Other paths are shortened by rules.").
		StringsVar(&o.RoutePatterns)
	app.Flag("route.limit", "How many routes made by rules to tell apart; further ones are counted as other.").
		Default("100").IntVar(&o.RouteLimit)
	duration("shutdown.timeout", "How long requests under way may take once the end has come.", &o.ShutdownTimeout)
	return f
}

// Options gives what the command line asks for.
func (f *Flags) Options() Options {
	o := f.options
	o.MetricsLimit = int64(f.limit)
	return o
}
