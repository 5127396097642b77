package resource

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parser is our own and not textparse: the answer of a node is read as a
// stream, line by line, so that a body of any size costs one buffer, and only
// six families are kept. It accepts what textparse accepts of the text format
// (a fuzz test compares the two) with one exception: the last line must be
// ended, since a value that was cut in the middle is a wrong value.

// lineLimit bounds one line of a body.
const lineLimit = 64 << 10

// ErrSyntax is in every error about a body that is not the text format.
var ErrSyntax = errors.New("not the Prometheus text format")

// ErrTooLarge is in the error about a body over the limit.
var ErrTooLarge = errors.New("body too large")

// sample is what one answer says about a container or a node. Zero means that
// it was not said (or cannot be: NaN, negative, out of range).
type sample struct {
	time   int64  // of the reading, nanoseconds since 1970
	start  int64  // of the container, nanoseconds since 1970
	cpu    uint64 // used since start, nanoseconds
	memory uint64 // working set, bytes
}

func (s *sample) complete() bool { return s.time > 0 && s.cpu > 0 && s.memory > 0 }

// containerKey names a container in a reading.
type containerKey struct{ namespace, pod, name string }

func (k containerKey) compare(o containerKey) int {
	if c := strings.Compare(k.namespace, o.namespace); c != 0 {
		return c
	}
	if c := strings.Compare(k.pod, o.pod); c != 0 {
		return c
	}
	return strings.Compare(k.name, o.name)
}

// containerReading is one container of a Reading.
type containerReading struct {
	containerKey
	sample
}

// Reading is one answer of a node: what it used and what its containers used.
type Reading struct {
	node       sample
	containers []containerReading // sorted by key, each key once
}

// Containers is the number of containers in the reading.
func (r *Reading) Containers() int { return len(r.containers) }

// Parse reads the text exposition of a kubelet's (or the container exporter's)
// /metrics/resource. Samples without a time stamp get now. More than limit
// bytes give ErrTooLarge, a line that is not in the text format ErrSyntax with
// its number; either way the whole answer is worth nothing.
func Parse(body io.Reader, now time.Time, limit int64) (*Reading, error) {
	limited := &io.LimitedReader{R: body, N: limit + 1}
	in := bufio.NewReaderSize(limited, lineLimit)
	b := builder{index: map[string]int{}, now: now.UnixMilli()}
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if limited.N <= 0 {
			return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
		}
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return b.finish(), nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("line %d: %w: it has no end, the answer was cut", n, ErrSyntax)
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("line %d: %w: longer than %d bytes", n, ErrSyntax, lineLimit)
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if err := b.line(line[:len(line)-1]); err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", n, ErrSyntax, err)
		}
	}
}

// builder collects the samples of one body.
type builder struct {
	now        int64 // milliseconds
	node       sample
	containers []containerReading
	index      map[string]int // namespace, pod and container, joined by NUL
	key        []byte
	labels     labelScratch
}

func (b *builder) line(line []byte) error {
	line = trimLeft(line)
	if len(line) == 0 || line[0] == '#' {
		return nil
	}
	name, rest, err := metricName(line)
	if err != nil {
		return err
	}
	fam := familyOf(name)
	b.labels.reset(fam >= containerCPU, len(name) > 0)
	if rest, err = b.labels.parse(rest); err != nil {
		return err
	}
	if len(name) == 0 && !b.labels.renamed {
		return fmt.Errorf("%s has no metric name", quote(line))
	}
	value, millis, err := valueAndTime(rest, b.now)
	if err != nil {
		return err
	}
	if b.labels.renamed {
		return nil // a quoted name is none of ours
	}
	switch fam {
	case other:
	case nodeCPU, nodeMemory:
		b.node.set(fam, value, millis)
	default:
		if c := b.container(); c != nil {
			c.set(fam, value, millis)
		}
	}
	return nil
}

// container is the entry that the labels of the line name, nil when they name none.
func (b *builder) container() *containerReading {
	l := &b.labels
	if len(l.namespace) == 0 || len(l.pod) == 0 || !l.hasContainer {
		return nil
	}
	b.key = append(append(append(append(append(b.key[:0], l.namespace...), 0), l.pod...), 0), l.container...)
	if i, ok := b.index[string(b.key)]; ok {
		return &b.containers[i]
	}
	key := string(b.key)
	b.index[key] = len(b.containers)
	pod := len(l.namespace) + 1
	name := pod + len(l.pod) + 1
	b.containers = append(b.containers, containerReading{containerKey: containerKey{
		namespace: key[:pod-1], pod: key[pod : name-1], name: key[name:],
	}})
	return &b.containers[len(b.containers)-1]
}

func (b *builder) finish() *Reading {
	slices.SortFunc(b.containers, func(x, y containerReading) int { return x.compare(y.containerKey) })
	return &Reading{node: b.node, containers: b.containers}
}

// set takes over one value. The family read last gives the time: the kubelet
// writes the same one to all.
func (s *sample) set(fam family, value float64, millis int64) {
	switch fam {
	case nodeCPU, containerCPU:
		s.cpu = toUint(value * 1e9)
	case nodeMemory, containerMemory:
		s.memory = toUint(value)
	case containerStart:
		if value > 0 && value*1e9 < math.MaxInt64 {
			s.start = int64(value * 1e9)
		}
		return
	}
	if millis > 0 && millis < math.MaxInt64/int64(time.Millisecond) {
		s.time = millis * int64(time.Millisecond)
	}
}

// toUint cuts v to a whole number; what no counter and no size can be gives 0,
// which is to say: no sample.
func toUint(v float64) uint64 {
	if !(v >= 0) || v >= 1<<64 {
		return 0
	}
	return uint64(v)
}

type family int

const (
	other family = iota
	nodeCPU
	nodeMemory
	containerCPU
	containerMemory
	containerStart
)

func familyOf(name []byte) family {
	switch string(name) {
	case "node_cpu_usage_seconds_total":
		return nodeCPU
	case "node_memory_working_set_bytes":
		return nodeMemory
	case "container_cpu_usage_seconds_total":
		return containerCPU
	case "container_memory_working_set_bytes":
		return containerMemory
	case "container_start_time_seconds":
		return containerStart
	}
	return other
}

// metricName splits off the name, which is empty where it stands quoted among the labels.
func metricName(line []byte) (name, rest []byte, err error) {
	n := 0
	for n < len(line) && nameByte(line[n], n > 0, true) {
		n++
	}
	if n == 0 && line[0] != '{' {
		return nil, nil, fmt.Errorf("%s is no start of a metric name", quote(line))
	}
	rest = line[n:]
	if len(rest) == 0 || rest[0] != '{' && !blank(rest[0]) {
		return nil, nil, fmt.Errorf("no value after %s", quote(line))
	}
	return line[:n], trimLeft(rest), nil
}

// valueAndTime reads the end of a line; without a time stamp, now stands in.
func valueAndTime(rest []byte, now int64) (float64, int64, error) {
	number, rest := field(trimLeft(rest))
	if bytes.ContainsAny(number, "pP_") {
		return 0, 0, fmt.Errorf("%s is not a number", quote(number))
	}
	value, err := strconv.ParseFloat(string(number), 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%s is not a number", quote(number))
	}
	stamp, rest := field(trimLeft(rest))
	if len(trimLeft(rest)) > 0 {
		return 0, 0, fmt.Errorf("%s after the time stamp", quote(rest))
	}
	if len(stamp) == 0 {
		return value, now, nil
	}
	millis, err := strconv.ParseInt(string(stamp), 10, 64)
	if err != nil || stamp[0] == '+' || stamp[0] == '-' {
		return 0, 0, fmt.Errorf("%s is not a time stamp", quote(stamp))
	}
	return value, millis, nil
}

func field(b []byte) (first, rest []byte) {
	n := 0
	for n < len(b) && !blank(b[n]) {
		n++
	}
	return b[:n], b[n:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func trimLeft(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	return b
}

func nameByte(c byte, inside, colon bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || colon && c == ':' || inside && c >= '0' && c <= '9'
}

// quote shows the beginning of what was found, for an error.
func quote(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}
