package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// mdadm reads /proc/mdstat and /sys/block/md*/md.
type mdadm struct {
	path, block string
	reader      reader
	arrays      []mdArray

	state, disks, disksRequired, blocks, blocksSynced, raidDisks, degraded *metric.Family
}

// mdArray is an array in /proc/mdstat.
type mdArray struct {
	name  string
	state string // as the label has it; empty for one that is not exposed

	required, active, failed, spare uint64 // disks
	blocks, synced                  uint64
}

func newMdadm(o *Options) collect.Collector {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return metric.NewGauge("node_md_"+name, help, append([]string{"device"}, labels...)...)
	}
	return &mdadm{
		path:          o.procPath("mdstat"),
		block:         o.sysPath("block"),
		state:         gauge("state", "Indicates the state of md-device.", "state"),
		disks:         gauge("disks", "Number of active/failed/spare disks of device.", "state"),
		disksRequired: gauge("disks_required", "Total number of disks of device."),
		blocks:        gauge("blocks", "Total number of blocks on device."),
		blocksSynced:  gauge("blocks_synced", "Number of blocks synced on device."),
		raidDisks:     gauge("raid_disks", "Number of raid disks on device."),
		degraded:      gauge("degraded", "Number of degraded disks on device."),
	}
}

// Families implements collect.Collector.
func (c *mdadm) Families() []*metric.Family {
	return []*metric.Family{c.state, c.disks, c.disksRequired, c.blocks, c.blocksSynced, c.raidDisks, c.degraded}
}

// Collect implements collect.Collector.
func (c *mdadm) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	if err != nil {
		return err
	}
	var errs error
	c.arrays, errs = parseMdstat(c.path, data, c.arrays[:0])
	for i := range c.arrays {
		a := &c.arrays[i]
		b.Add(c.disksRequired, float64(a.required), a.name)
		b.Add(c.disks, float64(a.active), a.name, "active")
		b.Add(c.disks, float64(a.failed), a.name, "failed")
		b.Add(c.disks, float64(a.spare), a.name, "spare")
		for _, state := range [...]string{"active", "inactive", "recovering", "resync", "check"} {
			b.Add(c.state, oneIf(a.state == state), a.name, state)
		}
		b.Add(c.blocks, float64(a.blocks), a.name)
		b.Add(c.blocksSynced, float64(a.synced), a.name)
	}
	names, err := present(c.block)
	errs = errors.Join(errs, err)
	for _, name := range names {
		if strings.HasPrefix(name, "md") {
			errs = errors.Join(errs, c.collectSys(b, filepath.Join(c.block, name, "md"), name))
		}
	}
	return errs
}

// collectSys adds what /sys says of an array.
func (c *mdadm) collectSys(b *metric.Batch, dir, name string) error {
	data, err := c.reader.text(filepath.Join(dir, "level"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // stopped this very moment
	}
	if err != nil {
		return err
	}
	level := string(data)
	var errs error
	switch level {
	case "container", "imsm", "ddf", "": // have no disks of their own
	default:
		data, err := c.reader.text(filepath.Join(dir, "raid_disks"))
		errs = errors.Join(errs, err)
		// While it is reshaped the old number follows: 11 (10).
		number, _ := field(data)
		if v, err := parseUint(number); err == nil {
			b.Add(c.raidDisks, float64(v), name)
		}
	}
	degraded := 0.0
	switch level {
	case "raid1", "raid4", "raid5", "raid6", "raid10":
		degraded, err = c.reader.unsigned(filepath.Join(dir, "degraded"))
		errs = errors.Join(errs, err)
	}
	b.Add(c.degraded, degraded, name)
	return errs
}

// parseMdstat appends the arrays to dst. One that is described in a way that
// is not known is left out, and the first of these is named by the error.
func parseMdstat(path string, data []byte, dst []mdArray) ([]mdArray, error) {
	l := newLines(path, data)
	var first error
	for more := l.next(); more; {
		line := l.line
		if len(line) == 0 || line[0] == ' ' || line[0] == '\t' ||
			bytes.HasPrefix(line, []byte("Personalities :")) || bytes.HasPrefix(line, []byte("unused")) {
			more = l.next()
			continue
		}
		a, err := parseMdArray(l, line)
		if more = l.next(); err != nil {
			first = cmp.Or(first, err)
			continue
		}
		if more {
			err = a.parseSize(l, line)
		}
		// What the kernel does with the array stands in one of the lines that
		// belong to it.
		for more = more && l.next(); more && len(l.line) > 0 && (l.line[0] == ' ' || l.line[0] == '\t'); more = l.next() {
			if err == nil {
				err = a.parseAction(l)
			}
		}
		if err == nil {
			dst = append(dst, a)
		}
		first = cmp.Or(first, err)
	}
	return dst, cmp.Or(first, l.end())
}

// parseMdArray reads a line such as "md6 : active raid1 sdb2[2](F) sda2[0]".
func parseMdArray(l *lines, line []byte) (a mdArray, err error) {
	name, rest := field(line)
	colon, rest := field(rest)
	state, _ := field(rest)
	if string(colon) != ":" || len(state) == 0 {
		return a, l.errorf("%s is not an array with its state", quote(line))
	}
	return mdArray{
		name: string(name), state: string(state),
		failed: uint64(bytes.Count(line, []byte("(F)"))),
		spare:  uint64(bytes.Count(line, []byte("(S)"))),
	}, nil
}

// parseSize reads a line such as "523968 blocks super 1.2 [4/3] [UU_U]", in
// which arrays without redundancy have no numbers of disks.
func (a *mdArray) parseSize(l *lines, line []byte) error {
	number, rest := field(l.line)
	blocks, err := parseUint(number)
	if err != nil {
		return l.errorf("%s: %s is not a number of blocks", a.name, quote(number))
	}
	a.blocks, a.synced = blocks, blocks
	switch {
	case bytes.Contains(line, []byte("raid0")) || bytes.Contains(line, []byte("linear")):
		a.required = uint64(bytes.Count(line, []byte("["))) // each disk has its number in them
		a.active = a.required
		return nil
	case bytes.Contains(line, []byte("inactive")):
		return nil
	}
	for f := []byte(nil); ; {
		if f, rest = field(rest); len(f) == 0 {
			return l.errorf("%s: %s has no numbers of disks", a.name, quote(l.line))
		}
		if required, active, ok := parseMdPair(f, '[', ']'); ok {
			a.required, a.active = required, active
			return nil
		}
	}
}

// parseAction reads a line such as "[=>...]  recovery =  8.5% (167/195) ...".
func (a *mdArray) parseAction(l *lines) error {
	switch {
	case bytes.Contains(l.line, []byte("bitmap:")):
		return nil
	case bytes.Contains(l.line, []byte("recovery")):
		a.state = "recovering"
	case bytes.Contains(l.line, []byte("reshape")):
		a.state = ""
	case bytes.Contains(l.line, []byte("check")):
		a.state = "check"
	case bytes.Contains(l.line, []byte("resync")):
		a.state = "resync"
	default:
		return nil
	}
	a.synced = 0
	for _, waiting := range [...]string{"PENDING", "DELAYED", "REMOTE"} {
		if bytes.Contains(l.line, []byte(waiting)) {
			return nil
		}
	}
	for f, rest := field(l.line); len(f) > 0; f, rest = field(rest) {
		if done, _, ok := parseMdPair(f, '(', ')'); ok {
			a.synced = done
			return nil
		}
	}
	return l.errorf("%s: %s does not say how far it is", a.name, quote(l.line))
}

// parseMdPair reads two numbers such as [4/3].
func parseMdPair(s []byte, open, end byte) (first, second uint64, ok bool) {
	if len(s) < 5 || s[0] != open || s[len(s)-1] != end {
		return 0, 0, false
	}
	left, right, ok := bytes.Cut(s[1:len(s)-1], []byte("/"))
	first, err1 := parseUint(left)
	second, err2 := parseUint(right)
	return first, second, ok && err1 == nil && err2 == nil
}
