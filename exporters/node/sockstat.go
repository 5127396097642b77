package node

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// sockstat reads how many sockets there are by protocol. Its families are named
// by the kernel's protocols.
type sockstat struct {
	paths     [2]string // of IPv4 and IPv6
	reader    reader
	lines     []sockstatLine
	pageSize  float64
	used      *metric.Family
	protocols map[string]*[len(sockstatKeys) + 1]*metric.Family
}

// sockstatKeys are the words before the values, and places in sockstatLine.
var sockstatKeys = [...]string{"inuse", "orphan", "tw", "alloc", "mem", "memory"}

// Places in sockstatKeys, and behind them that of the bytes of mem's pages.
const (
	sockstatInUse    = 0
	sockstatMem      = 4
	sockstatMemBytes = len(sockstatKeys)
)

// sockstatLine is what a line says of a protocol.
type sockstatLine struct {
	protocol []byte
	values   [len(sockstatKeys)]int64
	found    [len(sockstatKeys)]bool
	// used is that of the line sockets, which is no protocol.
	used  int64
	total bool
}

func newSockstat(o *Options) collect.Collector {
	return &sockstat{
		paths:     [2]string{o.procPath("net", "sockstat"), o.procPath("net", "sockstat6")},
		pageSize:  float64(os.Getpagesize()),
		used:      metric.NewGauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use."),
		protocols: map[string]*[len(sockstatKeys) + 1]*metric.Family{},
	}
}

// Families implements collect.Collector.
func (c *sockstat) Families() []*metric.Family { return []*metric.Family{c.used} }

// Collect implements collect.Collector.
func (c *sockstat) Collect(_ context.Context, b *metric.Batch) error {
	var errs []error
	for i, path := range c.paths {
		data, err := c.reader.keep(path, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel has that version of IP switched off
		}
		if err == nil {
			c.lines, err = parseSockstat(path, data, c.lines[:0])
			for j := range c.lines {
				c.add(b, &c.lines[j], i == 0)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *sockstat) add(b *metric.Batch, line *sockstatLine, v4 bool) {
	if line.total {
		if v4 {
			b.Add(c.used, float64(line.used))
		}
		return
	}
	families := c.families(line.protocol)
	if families == nil {
		return
	}
	for i, v := range line.values {
		if line.found[i] || i == sockstatInUse {
			b.Add(families[i], float64(v))
		}
	}
	if line.found[sockstatMem] {
		b.Add(families[sockstatMemBytes], float64(line.values[sockstatMem])*c.pageSize)
	}
}

// families finds or declares the families of a protocol.
func (c *sockstat) families(protocol []byte) *[len(sockstatKeys) + 1]*metric.Family {
	if f, ok := c.protocols[string(protocol)]; ok {
		return f
	}
	if len(c.protocols) >= maxKnown {
		clear(c.protocols)
	}
	name := string(protocol)
	var f *[len(sockstatKeys) + 1]*metric.Family
	if metric.ValidName("node_sockstat_" + name) {
		f = &[len(sockstatKeys) + 1]*metric.Family{}
		for i := range f {
			key := "mem_bytes"
			if i < len(sockstatKeys) {
				key = sockstatKeys[i]
			}
			f[i] = metric.NewGauge("node_sockstat_"+name+"_"+key, "Number of "+name+" sockets in state "+key+".")
		}
	}
	c.protocols[name] = f
	return f
}

// parseSockstat reads lines such as
//
//	TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1
//
// and appends each to dst, up to the first that is wrong.
func parseSockstat(path string, data []byte, dst []sockstatLine) ([]sockstatLine, error) {
	l := newLines(path, data)
	for l.next() {
		var line sockstatLine
		protocol, rest := field(l.line)
		if len(protocol) < 2 || protocol[len(protocol)-1] != ':' {
			return dst, l.errorf("%s does not begin with a protocol and a colon", quote(l.line))
		}
		line.protocol = protocol[:len(protocol)-1]
		line.total = string(line.protocol) == "sockets"
		pairs := 0
		for {
			var key, number []byte
			if key, rest = field(rest); len(key) == 0 {
				break
			}
			number, rest = field(rest)
			v, err := parseInt(number)
			if err != nil {
				return dst, l.errorf("%s: %s is not a number", quote(key), quote(number))
			}
			pairs++
			line.set(key, v)
		}
		if pairs == 0 {
			return dst, l.errorf("%s has no values", quote(line.protocol))
		}
		dst = append(dst, line)
	}
	return dst, l.end()
}

// set keeps the value of a known key.
func (s *sockstatLine) set(key []byte, v int64) {
	if s.total && string(key) == "used" {
		s.used = v
	}
	for i, k := range sockstatKeys {
		if string(key) == k {
			s.values[i], s.found[i] = v, true
		}
	}
}
