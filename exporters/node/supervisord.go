package node

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// SupervisordOptions of the collector supervisord.
type SupervisordOptions struct {
	// URL of the XML-RPC interface, such as http://localhost:9001/RPC2 or
	// unix:///run/supervisor.sock.
	URL string
}

func supervisordFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.Supervisord
	app.Flag("collector.supervisord.url", "XML RPC endpoint.").Default(o.URL).Envar("SUPERVISORD_URL").StringVar(&o.URL)
}

// supervisord asks supervisord for its processes, see
// http://supervisord.org/api.html.
type supervisord struct {
	url                        string
	up, state, exit, startTime *metric.Family
}

func newSupervisord(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family {
		return metric.NewGauge("node_supervisord_"+name, help, "name", "group")
	}
	return &supervisord{
		url:       o.Supervisord.URL,
		up:        gauge("up", "Process Up"),
		state:     gauge("state", "Process State"),
		exit:      gauge("exit_status", "Process Exit Status"),
		startTime: metric.NewCounter("node_supervisord_start_time_seconds", "Process start time", "name", "group"),
	}
}

// Families implements collect.Collector.
func (c *supervisord) Families() []*metric.Family {
	return []*metric.Family{c.up, c.state, c.exit, c.startTime}
}

// Collect implements collect.Collector.
func (c *supervisord) Collect(ctx context.Context, b *metric.Batch) error {
	data, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("asking supervisord at %s: %w", redacted(c.url), err)
	}
	processes, err := parseSupervisord(redacted(c.url), data)
	for _, p := range processes {
		b.Add(c.state, float64(p.state), p.name, p.group)
		b.Add(c.exit, float64(p.exit), p.name, p.group)
		b.Add(c.up, oneIf(p.running()), p.name, p.group)
		if p.running() {
			b.Add(c.startTime, float64(p.start), p.name, p.group)
		}
	}
	return err
}

// redacted is a URL without its password.
func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return text
}

// maxSupervisord bounds an answer; a process has less than 2 kB of it.
const maxSupervisord = 16 << 20

// ask calls supervisor.getAllProcessInfo over a connection of its own.
func (c *supervisord) ask(ctx context.Context) ([]byte, error) {
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	address := c.url
	if u, err := url.Parse(address); err == nil && u.Scheme == "unix" {
		address = "http://unix/RPC2"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", u.Path)
		}
	}
	const call = `<?xml version="1.0"?><methodCall><methodName>supervisor.getAllProcessInfo</methodName><params/></methodCall>`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(call))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "text/xml")
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the URL is named by the caller
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxSupervisord+1))
	if err == nil && len(data) > maxSupervisord {
		err = fmt.Errorf("answer longer than %d bytes", maxSupervisord)
	}
	return data, err
}

// supervisordProcess is what is taken of a process.
type supervisordProcess struct {
	name, group        string
	state, exit, start int64
}

// running is as in http://supervisord.org/subprocess.html#process-states.
func (p *supervisordProcess) running() bool {
	const starting, running, stopping = 10, 20, 40
	return p.state == starting || p.state == running || p.state == stopping
}

// xmlValue is a value of XML-RPC, see http://xmlrpc.com/spec.md. The text of
// one without a type is a string.
type xmlValue struct {
	Text    string      `xml:",chardata"`
	String  *string     `xml:"string"`
	Int     *string     `xml:"int"`
	I4      *string     `xml:"i4"`
	Array   []xmlValue  `xml:"array>data>value"`
	Members []xmlMember `xml:"struct>member"`
}

type xmlMember struct {
	Name  string   `xml:"name"`
	Value xmlValue `xml:"value"`
}

type xmlResponse struct {
	XMLName xml.Name  `xml:"methodResponse"`
	Value   *xmlValue `xml:"params>param>value"`
	Fault   *xmlValue `xml:"fault>value"`
}

func (v *xmlValue) text() string {
	if v.String != nil {
		return *v.String
	}
	return v.Text
}

func (v *xmlValue) int() (int64, error) {
	for _, s := range []*string{v.Int, v.I4} {
		if s != nil {
			return strconv.ParseInt(strings.TrimSpace(*s), 10, 64)
		}
	}
	return 0, errors.New("it has no integer")
}

// parseSupervisord reads the answer to supervisor.getAllProcessInfo. A process
// that is wrong, or there already, does not hide the others.
func parseSupervisord(source string, data []byte) ([]supervisordProcess, error) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	wrong := func(format string, args ...any) error {
		line, _ := decoder.InputPos()
		return fmt.Errorf("%s:%d: %w: %w", source, line, errSyntax, fmt.Errorf(format, args...))
	}
	var r xmlResponse
	switch err := decoder.Decode(&r); {
	case err != nil:
		return nil, wrong("%w", err)
	case r.Fault != nil:
		return nil, wrong("supervisord says: %s", r.Fault.fault())
	case r.Value == nil:
		return nil, wrong("the answer has no value")
	}
	var errs error
	var all []supervisordProcess
	seen := map[[2]string]bool{}
	for i := range r.Value.Array {
		p, err := r.Value.Array[i].process()
		if key := [2]string{p.group, p.name}; err == nil && seen[key] {
			err = errors.New("is listed twice")
		} else if err == nil {
			seen[key] = true
			all = append(all, p)
		}
		if err != nil {
			errs = errors.Join(errs, wrong("process %q: %w", p.group+":"+p.name, err))
		}
	}
	return all, errs
}

// process takes what is known of a process.
func (v *xmlValue) process() (p supervisordProcess, err error) {
	set := func(name string, target *int64, m *xmlValue) {
		n, convErr := m.int()
		if convErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, convErr))
		}
		*target = n
	}
	for i := range v.Members {
		switch m := &v.Members[i]; m.Name {
		case "name":
			p.name = m.Value.text()
		case "group":
			p.group = m.Value.text()
		case "state":
			set(m.Name, &p.state, &m.Value)
		case "exitstatus":
			set(m.Name, &p.exit, &m.Value)
		case "start":
			set(m.Name, &p.start, &m.Value)
		}
	}
	if p.name == "" && err == nil {
		err = errors.New("it has no name")
	}
	return p, err
}

// fault is the text of an error that the other side gave.
func (v *xmlValue) fault() string {
	for i := range v.Members {
		if v.Members[i].Name == "faultString" {
			return v.Members[i].Value.text()
		}
	}
	return "an error without a text"
}
