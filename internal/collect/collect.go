// Package collect runs the collectors of an exporter for a scrape: one after the
// other as long as they are quick and side by side when they are not,
// each under a deadline, with recovery from panics and a bound on its
// samples. A bad collector costs its own samples and never the scrape.
package collect

import (
	"context"
	"errors"

	"github.com/strata-metrics/strata/internal/metric"
)

// Collector reads one subject, such as /proc/stat, and says it as samples.
type Collector interface {
	// Families lists what Collect can add as far as it is known beforehand.
	// Families that are named by their source, as those of /proc/meminfo,
	// may be missing.
	Families() []*metric.Family
	// Collect adds samples to the batch, which it must not keep. It may stop
	// early when the context ends, but need not: the Runner does not wait for
	// it. It is never called again before it has returned. With an error the
	// samples added before it are served all the same.
	Collect(context.Context, *metric.Batch) error
}

// ErrNoData is returned, possibly wrapped, by a collector whose subject does
// not exist on this machine. It is reported as no success, but not as an error.
var ErrNoData = errors.New("no data")
