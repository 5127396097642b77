package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// RunitOptions of the collector runit.
type RunitOptions struct {
	ServiceDir string // holds a directory, or a link to one, for each service
}

func runitFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Runit
	app.Flag("collector.runit.servicedir", "Path to runit service directory.").Default(o.ServiceDir).StringVar(&o.ServiceDir)
}

// runit reads what runsv(8) writes about each service that it supervises.
type runit struct {
	dir                            string
	reader                         reader
	state, desired, normal, change *metric.Family
}

func newRunit(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_service_"+name, help, "service", "supervisor")
	}
	return &runit{
		dir:     o.Runit.ServiceDir,
		state:   gauge("state", "State of runit service."),
		desired: gauge("desired_state", "Desired state of runit service."),
		normal:  gauge("normal_state", "Normal state of runit service."),
		change:  gauge("state_last_change_timestamp_seconds", "Unix timestamp of the last runit service state change."),
	}
}

// Families implements collect.Collector.
func (c *runit) Families() []*metric.Family {
	return []*metric.Family{c.state, c.desired, c.normal, c.change}
}

// Collect implements collect.Collector.
func (c *runit) Collect(ctx context.Context, b *metric.Batch) error {
	found, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var errs error
	for _, f := range found {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !f.IsDir() && f.Type() != os.ModeSymlink {
			continue
		}
		supervise := filepath.Join(c.dir, f.Name(), "supervise")
		path := filepath.Join(supervise, "status")
		data, err := c.reader.read(path)
		if unreadable(err) || notDirectory(err) {
			continue // nobody supervises it
		}
		var s runitStatus
		if err == nil {
			s, err = parseRunit(path, data)
		}
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		// node_exporter looks for the file down here, not beside run, where an
		// administrator puts it; so does this.
		_, err = os.Stat(filepath.Join(supervise, "down"))
		const supervisor = "runit"
		b.Add(c.state, float64(s.state), f.Name(), supervisor)
		b.Add(c.desired, float64(s.want), f.Name(), supervisor)
		b.Add(c.normal, oneIf(err != nil), f.Name(), supervisor)
		b.Add(c.change, float64(s.changed), f.Name(), supervisor)
	}
	return errs
}

// runitStatus is the content of a file supervise/status.
type runitStatus struct {
	changed     int64 // Unix time in seconds
	state, want byte  // 0 down, 1 up; a state of 2 is finishing
}

// parseRunit reads the 20 bytes that runsv writes: the time as TAI64N, the
// process, and at fixed places what is wanted and what is.
func parseRunit(path string, data []byte) (runitStatus, error) {
	const (
		size, wantAt, stateAt = 20, 17, 19
		unixEpoch             = 1<<62 + 10 // in TAI64
	)
	if len(data) != size {
		return runitStatus{}, fmt.Errorf("%s:1: %w: %d bytes, %d are expected", path, errSyntax, len(data), size)
	}
	s := runitStatus{changed: int64(binary.BigEndian.Uint64(data) - unixEpoch), state: data[stateAt]}
	if data[wantAt] == 'u' {
		s.want = 1
	}
	return s, nil
}
