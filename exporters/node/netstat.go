package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// NetstatOptions of the collector netstat.
type NetstatOptions struct {
	// Fields chooses counters by their names with the protocol, such as
	// Tcp_InSegs. nil means all.
	Fields *regexp.Regexp
}

// defaultNetstatFields are those that dashboards and alerts ask for, out of
// some 400.
const defaultNetstatFields = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|" +
	"TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|" +
	"Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|" +
	"Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"

func netstatFlags(app *kingpin.Application, f *flagSet) {
	f.pattern(app, "collector.netstat.fields", "Regexp of fields to return for netstat collector.", &f.options.Netstat.Fields)
}

// netstat reads the counters of the network protocols. Their families are
// named by the kernel.
type netstat struct {
	netstatPath, snmpPath, snmp6Path string
	reader                           reader
	fields                           *regexp.Regexp
	// heads are the families of the columns, nil for those not wanted, by the
	// line that names them.
	heads map[string][]*metric.Family
	// lines are the families of the lines of snmp6 by their names.
	lines map[string]*metric.Family
}

func newNetstat(o *Options) collect.Collector {
	return &netstat{
		netstatPath: o.procPath("net", "netstat"),
		snmpPath:    o.procPath("net", "snmp"),
		snmp6Path:   o.procPath("net", "snmp6"),
		fields:      o.Netstat.Fields,
		heads:       map[string][]*metric.Family{},
		lines:       map[string]*metric.Family{},
	}
}

// Families implements collect.Collector.
func (c *netstat) Families() []*metric.Family { return nil }

// Collect implements collect.Collector.
func (c *netstat) Collect(_ context.Context, b *metric.Batch) error {
	var errs []error
	for _, path := range [...]string{c.netstatPath, c.snmpPath} {
		data, err := c.reader.keep(path, 0)
		if err == nil {
			err = c.parse(path, data, b)
		}
		errs = append(errs, err)
	}
	data, err := c.reader.keep(c.snmp6Path, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // IPv6 is switched off
	case err == nil:
		errs = append(errs, c.parse6(c.snmp6Path, data, b))
	default:
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parse reads /proc/net/netstat and snmp: a line with a protocol and the names
// of its columns, and a line with the same protocol and the values.
func (c *netstat) parse(path string, data []byte, b *metric.Batch) error {
	l := newLines(path, data)
	for l.next() {
		protocol, _, ok := bytes.Cut(l.line, []byte(": "))
		if !ok || len(protocol) == 0 {
			return l.errorf("%s does not begin with a protocol and a colon", quote(l.line))
		}
		head, known := c.heads[string(l.line)]
		if !known {
			head = c.head(string(protocol), l.line[len(protocol)+2:])
			if len(c.heads) >= maxKnown {
				clear(c.heads)
			}
			c.heads[string(l.line)] = head
		}
		if !l.next() {
			if err := l.end(); err != nil {
				return err
			}
			return l.errorf("the file ends without the values of %s", quote(protocol))
		}
		values, ok := bytes.CutPrefix(l.line, protocol)
		if !ok || len(values) == 0 || values[0] != ':' {
			return l.errorf("%s are not the values of %s", quote(l.line), quote(protocol))
		}
		if err := addColumns(l, head, values[1:], b); err != nil {
			return err
		}
	}
	return l.end()
}

// head gives the families of the columns.
func (c *netstat) head(protocol string, columns []byte) []*metric.Family {
	var head []*metric.Family
	for _, name := range bytes.Fields(columns) {
		head = append(head, c.family(protocol, string(name)))
	}
	return head
}

// family declares the family of a counter, or gives nil when it is not wanted
// or its name is none.
func (c *netstat) family(protocol, name string) *metric.Family {
	key := protocol + "_" + name
	if c.fields != nil && !c.fields.MatchString(key) || !metric.ValidName("node_netstat_"+key) {
		return nil
	}
	return metric.NewUntyped("node_netstat_"+key, "Statistic "+protocol+name+".")
}

func addColumns(l *lines, head []*metric.Family, values []byte, b *metric.Batch) error {
	n := 0
	for {
		var f []byte
		if f, values = field(values); len(f) == 0 {
			break
		}
		if n < len(head) && head[n] != nil {
			v, err := strconv.ParseFloat(string(f), 64)
			if err != nil {
				return l.errorf("%s is not a number", quote(f))
			}
			b.Add(head[n], v)
		}
		n++
	}
	if n != len(head) {
		return l.errorf("%d values for %d columns", n, len(head))
	}
	return nil
}

// parse6 reads /proc/net/snmp6: a counter's name with the protocol, such as
// Ip6InReceives, and its value.
func (c *netstat) parse6(path string, data []byte, b *metric.Batch) error {
	l := newLines(path, data)
	for l.next() {
		name, rest := field(l.line)
		number, _ := field(rest)
		if len(number) == 0 {
			continue
		}
		family, known := c.lines[string(name)]
		if !known {
			if i := bytes.IndexByte(name, '6'); i >= 0 {
				family = c.family(string(name[:i+1]), string(name[i+1:]))
			}
			if len(c.lines) >= maxKnown {
				clear(c.lines)
			}
			c.lines[string(name)] = family
		}
		if family == nil {
			continue
		}
		v, err := strconv.ParseFloat(string(number), 64)
		if err != nil {
			return l.errorf("%s: %s is not a number", quote(name), quote(number))
		}
		b.Add(family, v)
	}
	return l.end()
}
