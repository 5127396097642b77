package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// RaplOptions of the collector rapl.
type RaplOptions struct {
	// ZoneLabel names the zone in a label of one family in place of a family
	// for each zone.
	ZoneLabel bool
}

func raplFlags(app *kingpin.Application, f *flagSet) {
	app.Flag("collector.rapl.enable-zone-label", "Name the zone in the label rapl_zone of node_rapl_joules_total in place of the metric's name.").
		BoolVar(&f.options.Rapl.ZoneLabel)
}

// rapl reads the energy that parts of the processors have used, see
// Documentation/power/powercap/powercap.rst of the kernel.
type rapl struct {
	dir      string
	reader   reader
	entries  []string // of dir, from which zones was made
	zones    []raplZone
	joules   *metric.Family            // with the label rapl_zone; nil when switched off
	families map[string]*metric.Family // by the name of the zone, when joules is nil
}

// raplZone is a part of a processor, such as its cores or its memory.
type raplZone struct {
	path, energy string
	family       *metric.Family
	labels       []string
}

func newRapl(o *Options) collect.Collector {
	c := &rapl{dir: o.sysPath("class", "powercap"), families: map[string]*metric.Family{}}
	if o.Rapl.ZoneLabel {
		c.joules = metric.NewCounter("node_rapl_joules_total", "Current RAPL value in joules.", "index", "path", "rapl_zone")
	}
	return c
}

// Families implements collect.Collector. Those of zones are named by the
// kernel.
func (c *rapl) Families() []*metric.Family {
	if c.joules != nil {
		return []*metric.Family{c.joules}
	}
	return nil
}

// Collect implements collect.Collector. Energy is for root alone since
// CVE-2020-8694; for others there is no data.
func (c *rapl) Collect(_ context.Context, b *metric.Batch) error {
	err := c.find()
	const micro = 1e6
	for i := range c.zones {
		z := &c.zones[i]
		v, e := c.reader.uint(z.energy)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		b.Add(z.family, float64(v)/micro, z.labels...)
	}
	return noPermission(err)
}

// find brings c.zones to what is there. A zone's name may hold its index, as
// package-0 does; others of one name are counted.
func (c *rapl) find() error {
	list, err := entries(c.dir)
	if err != nil {
		c.entries, c.zones = nil, nil
		return err
	}
	if c.entries != nil && slices.Equal(list, c.entries) {
		return nil
	}
	c.zones = nil
	next := map[string]int{}
	for _, entry := range list {
		path := filepath.Join(c.dir, entry)
		text, err := c.reader.text(filepath.Join(path, "name"))
		if err != nil {
			continue // a control type, which holds the zones
		}
		name := string(text)
		index := next[name]
		if before, after, ok := strings.Cut(name, "-"); ok {
			if n, err := strconv.Atoi(after); err == nil {
				name, index = before, n
			}
		}
		next[name] = index + 1
		c.zones = append(c.zones, c.zone(name, path, index))
	}
	c.entries = list
	return nil
}

func (c *rapl) zone(name, path string, index int) raplZone {
	z := raplZone{path: path, energy: filepath.Join(path, "energy_uj"), family: c.joules, labels: []string{strconv.Itoa(index), path}}
	if c.joules != nil {
		z.labels = append(z.labels, name)
		return z
	}
	f, ok := c.families[metric.SanitizeName(name)]
	if !ok {
		f = metric.NewCounter("node_rapl_"+metric.SanitizeName(name)+"_joules_total", "Current RAPL "+name+" value in joules.", "index", "path")
		c.families[metric.SanitizeName(name)] = f
	}
	z.family = f
	return z
}
