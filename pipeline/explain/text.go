package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// maxRows is about how many answers Text shows of each metric.
const maxRows = 20

// row is one line of the table of what happened.
type row struct {
	at   time.Time
	what string
	text string
}

// Text writes it for people: the sentences, and what happened in the order of
// time.
func (h *HPA) Text(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s/%s scales %s", h.Namespace, h.Name, h.Scales)
	p.line("")
	for _, s := range h.Why {
		p.line("  %s", s)
	}
	for _, n := range h.Notes {
		p.line("  Note: %s", n)
	}
	rows := h.rows()
	if len(rows) == 0 {
		p.line("\nNothing happened in this time.")
		return p.err
	}
	p.line("")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := &printer{w: table, err: p.err}
	t.line("TIME\tWHAT\t")
	for _, r := range rows {
		t.line("%s\t%s\t%s", clock(r.at), r.what, r.text)
	}
	if t.err != nil {
		return t.err
	}
	return table.Flush()
}

// rows are all that happened, the oldest first.
func (h *HPA) rows() []row {
	var rows []row
	for i := range h.Metrics {
		m := &h.Metrics[i]
		step := max(1, (len(m.Answers)+maxRows-1)/maxRows)
		for j := range m.Answers {
			// Errors are all shown where they begin, others one in many.
			a := &m.Answers[j]
			began := j > 0 && (a.Error != "") != (m.Answers[j-1].Error != "")
			if began || (len(m.Answers)-1-j)%step == 0 {
				rows = append(rows, row{a.Time, m.title(), m.answer(a)})
			}
		}
	}
	for _, r := range h.Replicas {
		rows = append(rows, row{r.Time, "replicas", fmt.Sprintf("%d, %d wanted", r.Current, r.Desired)})
	}
	for _, e := range h.Events {
		text := e.Message
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		rows = append(rows, row{e.Time, e.Reason, strings.ReplaceAll(text, "\n", " ")})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.at.Compare(b.at) })
	return rows
}

// answer is one answer in a few words.
func (m *Metric) answer(a *Answer) string {
	switch {
	case a.Error != "":
		return sentence(a.Error)
	case a.Objects == 0:
		return "no values"
	}
	v, unit := a.Value, ""
	if m.Type == "Pods" {
		v, unit = a.Value/float64(a.Objects), " a pod of "+fmt.Sprint(a.Objects)
	}
	text := fmt.Sprintf("%.6g%s, up to %s old", v, unit, seconds(a.AgeSeconds))
	if n := len(a.Left); n > 0 {
		text += fmt.Sprintf(", %d left out", n)
	}
	return text
}

// printer writes lines until one fails.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
