package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// IPVSOptions of the collector ipvs.
type IPVSOptions struct {
	// BackendLabels are those by which the backends are summed up; nil means
	// all of IPVSBackendLabels.
	BackendLabels []string
}

// IPVSBackendLabels are the labels that IPVSOptions.BackendLabels may name, in
// their order.
func IPVSBackendLabels() []string {
	return []string{"local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark"}
}

func ipvsFlags(app *kingpin.Application, f *flagSet) {
	list := app.Flag("collector.ipvs.backend-labels", "Comma separated list for IPVS backend stats labels.").
		Default(strings.Join(IPVSBackendLabels(), ",")).String()
	f.finish = append(f.finish, func() error {
		labels, err := parseIPVSLabels(*list)
		f.options.IPVS.BackendLabels = labels
		return err
	})
}

// parseIPVSLabels reads the value of the flag.
func parseIPVSLabels(list string) ([]string, error) {
	labels := []string{}
	given := strings.Split(list, ",")
	for _, l := range IPVSBackendLabels() {
		if slices.Contains(given, l) {
			labels = append(labels, l)
		}
	}
	for _, l := range given {
		if l != "" && !slices.Contains(labels, l) {
			return nil, fmt.Errorf("--collector.ipvs.backend-labels=%q: %q is none of %s", list, l, strings.Join(IPVSBackendLabels(), ", "))
		}
	}
	return labels, nil
}

// ipvs reads the virtual servers of the kernel's load balancer, see
// Documentation/networking/ipvs-sysctl.rst of the kernel and ipvsadm(8).
type ipvs struct {
	statsPath, path          string
	reader                   reader
	totals                   [5]*metric.Family
	places                   []int // of the labels in ipvsBackend.labels
	active, inactive, weight *metric.Family
}

// ipvsBackend is a real server of a virtual one.
type ipvsBackend struct {
	labels                   [6]string // in the order of IPVSBackendLabels
	active, inactive, weight uint64
}

func newIPVS(o *Options) collect.Collector {
	labels := o.IPVS.BackendLabels
	if labels == nil {
		labels = IPVSBackendLabels()
	}
	c := &ipvs{
		statsPath: o.procPath("net", "ip_vs_stats"),
		path:      o.procPath("net", "ip_vs"),
		totals: [5]*metric.Family{
			metric.NewCounter("node_ipvs_connections_total", "The total number of connections made."),
			metric.NewCounter("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
			metric.NewCounter("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
			metric.NewCounter("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
			metric.NewCounter("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
		},
		active: metric.NewGauge("node_ipvs_backend_connections_active",
			"The current active connections by local and remote address.", labels...),
		inactive: metric.NewGauge("node_ipvs_backend_connections_inactive",
			"The current inactive connections by local and remote address.", labels...),
		weight: metric.NewGauge("node_ipvs_backend_weight", "The current backend weight by local and remote address.", labels...),
	}
	for _, l := range labels {
		c.places = append(c.places, slices.Index(IPVSBackendLabels(), l))
	}
	return c
}

// Families implements collect.Collector.
func (c *ipvs) Families() []*metric.Family {
	return append(c.totals[:len(c.totals):len(c.totals)], c.active, c.inactive, c.weight)
}

// Collect implements collect.Collector.
func (c *ipvs) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.statsPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.statsPath, collect.ErrNoData)
	}
	if err != nil {
		return err
	}
	totals, err := parseIPVSStats(c.statsPath, data)
	if err != nil {
		return err
	}
	for i, f := range c.totals {
		b.Add(f, float64(totals[i]))
	}
	if data, err = c.reader.read(c.path); err != nil {
		return err
	}
	backends, err := parseIPVS(c.path, data)
	c.add(b, backends)
	return err
}

// add sums up the backends with the same labels.
func (c *ipvs) add(b *metric.Batch, backends []ipvsBackend) {
	var order []string
	sums := map[string]*ipvsBackend{}
	for i := range backends {
		backend := &backends[i]
		labels := c.labels(backend)
		key := strings.Join(labels, "\xff")
		sum, ok := sums[key]
		if !ok {
			order = append(order, key)
			sums[key] = backend
			continue
		}
		sum.active += backend.active
		sum.inactive += backend.inactive
		sum.weight += backend.weight
	}
	for _, key := range order {
		sum := sums[key]
		labels := c.labels(sum)
		b.Add(c.active, float64(sum.active), labels...)
		b.Add(c.inactive, float64(sum.inactive), labels...)
		b.Add(c.weight, float64(sum.weight), labels...)
	}
}

// labels gives the values of those labels that were chosen.
func (c *ipvs) labels(b *ipvsBackend) []string {
	labels := make([]string, len(c.places))
	for i, place := range c.places {
		labels[i] = b.labels[place]
	}
	return labels
}

// parseIPVSStats reads the third line, five hexadecimal numbers: connections,
// packets in and out, bytes in and out.
func parseIPVSStats(path string, data []byte) (totals [5]uint64, err error) {
	const line = 3
	l := newLines(path, data)
	for l.n < line {
		if !l.next() {
			if err := l.end(); err != nil {
				return totals, err
			}
			return totals, l.errorf("the file ends within its head lines")
		}
	}
	rest := l.line
	for i := range totals {
		var f []byte
		f, rest = field(rest)
		if totals[i], err = strconv.ParseUint(string(f), 16, 64); err != nil {
			return totals, l.errorf("%s is not a hexadecimal number", quote(f))
		}
	}
	return totals, nil
}

// parseIPVS reads the virtual servers, each a line with its protocol and
// address or mark, and below it a line with an arrow for each backend. It gives
// those before the first wrong line.
func parseIPVS(path string, data []byte) ([]ipvsBackend, error) {
	var all []ipvsBackend
	var virtual ipvsBackend
	l := newLines(path, data)
	for l.next() {
		fields := strings.Fields(string(l.line))
		switch {
		case len(fields) < 2 || fields[0] == "IP" || fields[0] == "Prot" || fields[1] == "RemoteAddress:Port":
		case fields[0] == "->":
			backend := virtual
			if err := backend.parse(fields); err != nil {
				return all, l.errorf("%w", err)
			}
			all = append(all, backend)
		case fields[0] == "FWM":
			virtual = ipvsBackend{labels: [6]string{1: "0", 4: fields[0], 5: fields[1]}}
		default: // TCP, UDP, SCTP
			address, port, err := parseIPVSAddress(fields[1])
			if err != nil {
				return all, l.errorf("%w", err)
			}
			virtual = ipvsBackend{labels: [6]string{0: address, 1: port, 4: fields[0]}}
		}
	}
	return all, l.end()
}

// parse reads the line of a backend: its address, how it is reached, the
// weight, and active and inactive connections.
func (b *ipvsBackend) parse(fields []string) (err error) {
	const columns = 6
	if len(fields) < columns {
		return fmt.Errorf("%d columns of a backend, %d are expected", len(fields), columns)
	}
	if b.labels[2], b.labels[3], err = parseIPVSAddress(fields[1]); err != nil {
		return err
	}
	for i, v := range [...]*uint64{&b.weight, &b.active, &b.inactive} {
		if *v, err = strconv.ParseUint(fields[3+i], 10, 64); err != nil {
			return fmt.Errorf("%s is not a number", quote([]byte(fields[3+i])))
		}
	}
	return nil
}

// parseIPVSAddress reads C0A80016:0CEA or [2620:0:0:0:0:0:0:1]:0050.
func parseIPVSAddress(s string) (address, port string, err error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return "", "", fmt.Errorf("%s is not an address with a port", quote([]byte(s)))
	}
	number, err := strconv.ParseUint(s[colon+1:], 16, 16)
	if err != nil {
		return "", "", fmt.Errorf("%s is not a port", quote([]byte(s[colon+1:])))
	}
	var ip netip.Addr
	text := s[:colon]
	if inner, ok := strings.CutPrefix(text, "["); ok {
		ip, err = netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	} else {
		var raw []byte
		raw, err = hex.DecodeString(text)
		ip, _ = netip.AddrFromSlice(raw)
	}
	if err != nil || !ip.IsValid() {
		return "", "", fmt.Errorf("%s is not an address", quote([]byte(text)))
	}
	return ip.Unmap().String(), strconv.FormatUint(number, 10), nil
}
