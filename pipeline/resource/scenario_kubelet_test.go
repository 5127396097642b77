package resource

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scenario is a set of fake kubelets of the reference data: what each answers
// depends on how often it was asked and on the clock.
type scenario struct {
	Name        string          `json:"name"`
	Resolution  float64         `json:"resolution_s"`
	Checkpoints []int           `json:"checkpoints"`
	WindowFree  bool            `json:"window_free"`
	Tolerance   float64         `json:"cpu_tolerance_nanocores"`
	Relative    float64         `json:"cpu_tolerance_relative"`
	Nodes       []*scenarioNode `json:"nodes"`
}

type scenarioNode struct {
	Name     string                  `json:"name"`
	Port     int                     `json:"port"`
	Path     string                  `json:"path"`
	Gzip     bool                    `json:"gzip"`
	Reject   bool                    `json:"reject_path"`
	NoListen bool                    `json:"nolisten"`
	Series   []scenarioSeries        `json:"series"`
	Steps    map[string]scenarioStep `json:"steps"`

	mu      sync.Mutex
	dropped time.Time
	t0      int64 // milliseconds, as all times here
	last    int64
	starts  map[string]int64
	log     []map[string]point // of each answer: container or node -> what was said
}

type point struct{ time, start int64 }

type scenarioEpoch struct {
	From  int      `json:"from"`
	Base  float64  `json:"base"`
	Start *float64 `json:"start_ms"`
}

type scenarioSeries struct {
	scenarioEpoch
	Metric string            `json:"m"`
	Labels map[string]string `json:"l"`
	Kind   string            `json:"kind"`
	Rate   float64           `json:"rate"`
	Value  json.RawMessage   `json:"value"`
	Offset int64             `json:"off"`
	NoTime bool              `json:"nots"`
	To     int               `json:"to"`
	Skip   []int             `json:"skip"`
	Epochs []scenarioEpoch   `json:"epochs"`
}

type scenarioStep struct {
	Status   int     `json:"status"`
	Body     *string `json:"body"`
	Append   string  `json:"append"`
	Pad      int     `json:"pad"`
	CutAt    string  `json:"cut_at"`
	Truncate float64 `json:"truncate"`
	Slow     float64 `json:"slow"`
	Back     int64   `json:"back_ms"`
	Freeze   bool    `json:"freeze"`
	Drop     bool    `json:"drop"`
	As       int     `json:"as"`
}

// step is what happens at the n-th answer: "3", "3-5", "3-".
func (d *scenarioNode) step(n int) scenarioStep {
	for k, s := range d.Steps {
		from, to, isRange := strings.Cut(k, "-")
		a, _ := strconv.Atoi(from)
		b, err := strconv.Atoi(to)
		if err != nil {
			b = 1 << 30
		}
		if isRange && a <= n && n <= b || !isRange && a == n {
			return s
		}
	}
	return scenarioStep{}
}

// familyOrder is that of a kubelet's answer; others come last.
var familyOrder = []string{
	"container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds",
	"container_swap_limit_bytes", "container_swap_usage_bytes", "node_cpu_usage_seconds_total", "node_memory_working_set_bytes",
	"node_swap_usage_bytes", "pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes", "pod_swap_usage_bytes", "resource_scrape_error",
}

func orderOf(metric string) int {
	if i := slices.Index(familyOrder, metric); i >= 0 {
		return i
	}
	return len(familyOrder)
}

func keyOf(l map[string]string) string {
	var parts []string
	for _, k := range []string{"namespace", "pod", "container"} {
		if v, ok := l[k]; ok {
			parts = append(parts, v)
		}
	}
	if len(parts) == 0 {
		return "node"
	}
	return strings.Join(parts, "/")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func (s *scenarioSeries) epoch(n int) scenarioEpoch {
	e := scenarioEpoch{From: 1, Base: s.Base, Start: s.Start}
	for _, o := range s.Epochs {
		if n >= o.From {
			e = o
		}
	}
	return e
}

// value gives the n-th of a list, or the one there is, as text.
func (s *scenarioSeries) value(n int) string {
	var list []json.RawMessage
	raw := s.Value
	if json.Unmarshal(raw, &list) == nil {
		raw = list[min(n, len(list))-1]
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	v, _ := strconv.ParseFloat(string(raw), 64)
	return number(v)
}

func (d *scenarioNode) body(n int, now int64) (string, map[string]point) {
	order := slices.Clone(d.Series)
	slices.SortStableFunc(order, func(a, b scenarioSeries) int { return orderOf(a.Metric) - orderOf(b.Metric) })
	var b strings.Builder
	points, seen := map[string]point{}, map[string]bool{}
	for i := range order {
		s := &order[i]
		if n < s.From || s.To > 0 && n > s.To || slices.Contains(s.Skip, n) {
			continue
		}
		key, e, at := keyOf(s.Labels), s.epoch(n), now-s.Offset
		started := -3600000.0
		if e.Start != nil {
			started = *e.Start
		}
		id := fmt.Sprint(key, max(e.From, 1))
		if _, ok := d.starts[id]; !ok {
			d.starts[id] = now + int64(started)
			if e.From <= 1 {
				d.starts[id] = d.t0 + int64(started)
			}
		}
		start, p, value, stamped := d.starts[id], points[key], "", !s.NoTime
		switch s.Kind {
		case "cpu":
			value, p.time = number(e.Base+s.Rate*float64(at-start)/1000), at
		case "mem":
			value = s.value(n)
			if strings.HasSuffix(s.Metric, "_memory_working_set_bytes") {
				p.time = at
			}
		case "start":
			value, p.start, stamped = strconv.FormatFloat(float64(start)/1000, 'f', -1, 64), start, false
		default:
			value, stamped = s.value(n), false
		}
		points[key] = p
		if !seen[s.Metric] {
			seen[s.Metric] = true
			fmt.Fprintf(&b, "# HELP %s x\n# TYPE %[1]s untyped\n", s.Metric)
		}
		b.WriteString(s.Metric)
		if len(s.Labels) > 0 {
			var pairs []string
			for k, v := range s.Labels {
				pairs = append(pairs, k+`="`+v+`"`)
			}
			b.WriteString("{" + strings.Join(pairs, ",") + "}")
		}
		b.WriteString(" " + value)
		if stamped {
			fmt.Fprintf(&b, " %d", at)
		}
		b.WriteString("\n")
	}
	return b.String(), points
}

// next gives the body of this answer and what happens to it. The client asks
// once more by itself when its connection is dropped: so is that.
func (d *scenarioNode) next() (string, scenarioStep) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.dropped) < 3*time.Second {
		return "", scenarioStep{Drop: true}
	}
	n := len(d.log) + 1
	step := d.step(n)
	now := time.Now().UnixMilli() / 125 * 125 // so that dyadic rates are exact
	if d.starts == nil {
		d.starts, d.t0 = map[string]int64{}, now
	}
	switch {
	case step.Back > 0:
		now = d.last - step.Back
	case step.Freeze && d.last > 0:
		now = d.last
	}
	d.last = now
	as := n
	if step.As > 0 {
		as = step.As
	}
	if step.Drop {
		d.dropped = time.Now()
	}
	body, points := d.body(as, now)
	d.log = append(d.log, points)
	return body, step
}

func (d *scenarioNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, step := d.next()
	if step.Drop {
		panic(http.ErrAbortHandler)
	}
	time.Sleep(time.Duration(step.Slow * float64(time.Second))) // made time
	if step.Body != nil {
		body = *step.Body
	}
	body += step.Append
	if step.Pad > 0 {
		const line = "some_other_metric_total{code=\"200\"} 12345.678 1700000000000\n"
		body += strings.Repeat(line, step.Pad/len(line))
	}
	if step.CutAt != "" {
		body, _, _ = strings.Cut(body, step.CutAt)
	}
	if d.Reject && r.URL.Path != d.Path {
		step.Status, body = http.StatusNotFound, "404 page not found\n"
	}
	if step.Truncate > 0 { // all is announced, a part is sent
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body[:int(float64(len(body))*step.Truncate)])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if d.Gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = io.WriteString(z, body)
		_ = z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		body = packed.String()
	}
	if step.Status > 0 {
		w.WriteHeader(step.Status)
	}
	if step.Status != http.StatusNoContent {
		_, _ = io.WriteString(w, body)
	}
}

// pipes is a network in memory, whose waits are in made time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
