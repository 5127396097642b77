package metric

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// answer is what a request asks for.
type answer struct {
	mediaType expfmt.Format
	format    format
	// library says that client_golang's encoders write the answer, for the
	// formats that people read protobuf in.
	library  bool
	encoding string
	names    []string // only these families; nil means all
}

// newAnswer negotiates as promhttp does, by the headers Accept and
// Accept-Encoding. Whichever way of escaping is asked for is named in the
// answer and changes nothing, since our names need none.
func newAnswer(r *http.Request, o *HandlerOptions) answer {
	a := answer{encoding: negotiateEncoding(r.Header, identity, gzipped, zstandard)}
	a.mediaType = expfmt.NegotiateAccept(r.Header, o.offers()...)
	switch a.mediaType.FormatType() {
	case expfmt.TypeTextPlain:
		a.format = formatText
	case expfmt.TypeOpenMetrics:
		a.format = formatOpenMetrics
	case expfmt.TypeProtoDelim:
		a.format = formatProtobuf
	default:
		a.library = true
	}
	if o.WriteText == nil && r.URL != nil && r.URL.RawQuery != "" {
		a.names = r.URL.Query()["name[]"]
	}
	return a
}

// offers are the formats that can be written, the one that is preferred first.
func (o *HandlerOptions) offers() []expfmt.Format {
	switch {
	case o.WriteText == nil:
		return expfmt.DefaultOpenMetricsAcceptedFormats()
	case o.WriteOpenMetrics == nil:
		return []expfmt.Format{expfmt.FmtText}
	default:
		return []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText}
	}
}

// wants says whether a family was asked for.
func (a *answer) wants(name string) bool { return len(a.names) == 0 || slices.Contains(a.names, name) }

// exposition is the memory of one scrape, used again by the next.
type exposition struct {
	batch *Batch
	kept  *kept
	parts []part // the answer

	own  bytes.Buffer // the families of the registry
	ends []ownFamily

	compressor compressor
	out        []byte // what is sent at once
}

// ownFamily is a family of the registry, and where its text ends.
type ownFamily struct {
	name string
	end  int
}

// compose fills e.parts with the batch and the registry, sorted by name.
func (h *handler) compose(e *exposition, a answer) {
	e.kept.next()
	own := h.gather(e, a)
	if a.library {
		for _, f := range e.batch.Messages() {
			if a.wants(f.GetName()) {
				own = append(own, f)
			}
		}
		slices.SortStableFunc(own, func(f, g *dto.MetricFamily) int { return strings.Compare(f.GetName(), g.GetName()) })
	}
	e.own.Reset()
	e.ends = e.ends[:0]
	enc := expfmt.NewEncoder(&e.own, a.mediaType)
	for _, f := range own {
		if err := enc.Encode(f); err != nil {
			h.incomplete("encoding", fmt.Errorf("encoding %s: %w", f.GetName(), err))
		}
		e.ends = append(e.ends, ownFamily{f.GetName(), e.own.Len()})
	}
	e.merge(a)
	if h.WriteText == nil && a.format == formatOpenMetrics {
		e.parts = append(e.parts, part{text: []byte(openEnd)})
	}
}

// gather gives the registry's families that are asked for and are not the
// batch's own. What could be gathered is served: an incomplete view of
// ourselves must not cost the scraper the rest.
func (h *handler) gather(e *exposition, a answer) []*dto.MetricFamily {
	var families []*dto.MetricFamily
	var err error
	switch g := h.Registry.(type) {
	case nil:
		return nil
	case BatchGatherer:
		families, err = g.GatherInto(e.batch)
	default:
		families, err = g.Gather()
	}
	if err != nil {
		h.incomplete("gathering", err)
	}
	var wanted []*dto.MetricFamily
	for _, f := range families {
		switch name := f.GetName(); {
		case !a.wants(name):
		case e.batch.giveWay(name):
			wanted = append(wanted, f)
		default:
			h.clash(name)
		}
	}
	return wanted
}

func (h *handler) incomplete(cause string, err error) {
	h.errors.WithLabelValues(cause).Inc()
	h.Logger.Error("own metrics are incomplete", "err", err)
}

// clash says once that a family of the registry is left out, since two of a
// name make the whole answer invalid.
func (h *handler) clash(name string) {
	h.mu.Lock()
	known := h.clashes[name]
	h.clashes[name] = true
	h.mu.Unlock()
	if !known {
		h.Logger.Error("a metric of the program has the name of a measured one and is left out", "name", name)
	}
}

// merge puts the families of the batch and those encoded in e.own into one
// order. Of a foreign answer all are encoded.
func (e *exposition) merge(a answer) {
	e.parts = e.parts[:0]
	own, start := e.own.Bytes(), 0
	ends := e.ends
	takeOwn := func() {
		e.parts = append(e.parts, part{text: own[start:ends[0].end]})
		start, ends = ends[0].end, ends[1:]
	}
	for g := range e.batch.written {
		if a.library || !a.wants(g.family.spec.Name) {
			continue
		}
		for len(ends) > 0 && ends[0].name < g.family.spec.Name {
			takeOwn()
		}
		e.parts = append(e.parts, e.kept.family(e.batch, g, a.format))
	}
	for len(ends) > 0 {
		takeOwn()
	}
}

// sendSize is how much is gathered before it is sent.
const sendSize = 64 << 10

// write sends the parts.
func (e *exposition) write(w http.ResponseWriter, a answer) error {
	if a.encoding != identity {
		body := e.compressor.encode(a.encoding, e.kept, e.parts, a.format)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, err := w.Write(body)
		return err
	}
	e.out = e.out[:0]
	for i := range e.parts {
		if e.out = e.parts[i].appendTo(e.out); len(e.out) >= sendSize {
			if _, err := w.Write(e.out); err != nil {
				return err
			}
			e.out = e.out[:0]
		}
	}
	_, err := w.Write(e.out)
	return err
}
