package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// SysctlOptions of the collector sysctl.
type SysctlOptions struct {
	// Include are sysctls whose values are numbers, such as kernel.threads-max.
	// Names for several values follow a colon: fs.file-nr:total,current,max.
	Include []string
	// Info are sysctls whose values become labels.
	Info []string
}

func sysctlFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Sysctl
	app.Flag("collector.sysctl.include", "Select sysctl metrics to include.").StringsVar(&o.Include)
	app.Flag("collector.sysctl.include-info", "Select sysctl metrics to include as info metrics.").StringsVar(&o.Info)
}

// sysctl reads chosen files of /proc/sys.
type sysctl struct {
	reader  reader
	numbers numbers
	list    []sysctlValue
	info    *metric.Family
}

// sysctlValue is a file of /proc/sys. Its family depends on whether the file
// has one value or several, which are told apart by an index.
type sysctlValue struct {
	name, path      string
	numeric         bool
	single, indexed *metric.Family
	keyed           []*metric.Family // a family for each value, nil without keys
}

func newSysctl(o *Options) collect.Collector {
	c := &sysctl{info: metric.NewGauge("node_sysctl_info", "sysctl info", "name", "value", "index")}
	seen := map[string]bool{}
	add := func(include string, numeric bool) {
		if seen[include] {
			return // twice on the command line, but once in the exposition
		}
		seen[include] = true
		name, keys, ok := strings.Cut(include, ":")
		v := sysctlValue{name: name, path: o.procPath("sys", strings.ReplaceAll(name, ".", "/")), numeric: numeric}
		family := "node_sysctl_" + metric.SanitizeName(name)
		help := "sysctl " + name
		v.single, v.indexed = metric.NewUntyped(family, help), metric.NewUntyped(family, help, "index")
		if ok {
			for i, key := range strings.Split(keys, ",") {
				v.keyed = append(v.keyed, metric.NewUntyped(family+"_"+metric.SanitizeName(key), fmt.Sprintf("%s, field %d", help, i)))
			}
		}
		c.list = append(c.list, v)
	}
	for _, s := range o.Sysctl.Include {
		add(s, true)
	}
	for _, s := range o.Sysctl.Info {
		add(s, false)
	}
	return c
}

// Families implements collect.Collector. Those of numbers are named by flags.
func (c *sysctl) Families() []*metric.Family { return []*metric.Family{c.info} }

// Collect implements collect.Collector.
func (c *sysctl) Collect(_ context.Context, b *metric.Batch) error {
	var errs error
	for i := range c.list {
		errs = errors.Join(errs, c.add(b, &c.list[i]))
	}
	return errs
}

func (c *sysctl) add(b *metric.Batch, v *sysctlValue) error {
	data, err := c.reader.read(v.path)
	if err != nil {
		return err
	}
	words := bytes.Fields(data)
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s:1: %w: %w", v.path, errSyntax, fmt.Errorf(format, args...))
	}
	switch {
	case len(words) == 0:
		return wrong("sysctl %s has no values", v.name)
	case len(v.keyed) > 0 && len(v.keyed) != len(words):
		return wrong("sysctl %s has %d values, its flag names %d", v.name, len(words), len(v.keyed))
	case len(v.keyed) > 0 && !v.numeric:
		return wrong("the values of sysctl %s cannot be named, as they are labels: take away what follows the colon", v.name)
	}
	for i, word := range words {
		if !v.numeric {
			b.Add(c.info, 1, v.name, string(word), c.numbers.text(i))
			continue
		}
		n, err := strconv.ParseInt(string(word), 10, 64)
		switch {
		case err != nil:
			return wrong("%s of sysctl %s is not a number", quote(word), v.name)
		case len(v.keyed) > 0:
			b.Add(v.keyed[i], float64(n))
		case len(words) == 1:
			b.Add(v.single, float64(n))
		default:
			b.Add(v.indexed, float64(n), c.numbers.text(i))
		}
	}
	return nil
}
