// Package migrate reads what people have written for prometheus-adapter and
// KEDA and says, piece by piece, what of it Strata serves as it is, what it
// serves in another way, and what it does not serve and what to do then. For
// KEDA it also writes the files that take over.
//
// What is known of the other programs stands in tables: adapterFlags, triggers,
// objectFields and prometheusFields. The code only walks over the files and
// looks them up.
package migrate

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/prometheus/promql/parser"
)

// Verdict is what becomes of one piece of a configuration.
type Verdict string

// The verdicts.
const (
	Served    Verdict = "served"     // as it is
	Differs   Verdict = "differs"    // served, not in the same way
	NotServed Verdict = "not served" // Do says what to do
)

// Item is one piece of a configuration: a rule, a flag, a trigger, a field.
type Item struct {
	// File and Line are where it stands; Line counts from 1, 0 is unknown.
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Of is the object that it is a part of, such as "ScaledObject shop/worker".
	Of string `json:"of,omitempty"`
	// Plan is what becomes of that object as a whole.
	Plan string `json:"plan,omitempty"`
	// What names the piece, such as rules[2] or spec.triggers[0] (kafka).
	What string `json:"what"`
	// Gives is what Strata makes of it, such as the name of a metric.
	Gives string `json:"gives,omitempty"`
	// Verdict is what becomes of it.
	Verdict Verdict `json:"verdict"`
	// Notes say what is not the same, or why it is not served.
	Notes []string `json:"notes,omitempty"`
	// Do is what a person has to do; "" for nothing.
	Do string `json:"do,omitempty"`
}

// note adds to what is not the same, and takes back that it is served as it is.
func (i *Item) note(text string) {
	i.Notes = append(i.Notes, text)
	if i.Verdict == Served {
		i.Verdict = Differs
	}
}

// refuse says that a piece is not served, why, and what to do.
func (i *Item) refuse(why, do string) {
	i.Verdict, i.Do = NotServed, do
	i.Notes = append(i.Notes, why)
}

// File is one that takes over what was migrated.
type File struct {
	// Name is without a directory.
	Name string
	// Content is YAML.
	Content []byte
}

// Report is what there is to say about a configuration.
type Report struct {
	// Items are in the order of the files.
	Items []Item `json:"items"`
	// Notes hold for everything that is served.
	Notes []string `json:"notes,omitempty"`
	// Files are those to write.
	Files []File `json:"-"`
}

// Options are what the readers of configurations share.
type Options struct {
	// Parser is that of the server's PromQL; nil is PromQL without optional parts.
	Parser parser.Parser
	// ScalerAddress is where KEDA reaches Strata's external scaler, for what
	// stays in KEDA.
	ScalerAddress string
}

// DefaultScalerAddress is that of the chart's Service with the port that the
// documentation uses.
const DefaultScalerAddress = "strata-server.strata.svc:9444"

func (o Options) withDefaults() Options {
	if o.Parser == nil {
		o.Parser = parser.NewParser(parser.Options{})
	}
	if o.ScalerAddress == "" {
		o.ScalerAddress = DefaultScalerAddress
	}
	return o
}

// Count is how many items have a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for i := range r.Items {
		if r.Items[i].Verdict == v {
			n++
		}
	}
	return n
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// Table writes the report for people: a line for each item, under it what is
// not the same and what to do.
func (r *Report) Table(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	of := ""
	for i := range r.Items {
		item := &r.Items[i]
		if item.Of != of {
			of = item.Of
			_, _ = fmt.Fprintf(table, "%s\n", strings.TrimSuffix(of+": "+item.Plan, ": "))
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", item.Verdict, item.where(), item.What, item.Gives)
		for _, n := range item.Notes {
			_, _ = fmt.Fprintf(table, "\t  %s\n", n)
		}
		if item.Do != "" {
			_, _ = fmt.Fprintf(table, "\t  to do: %s\n", item.Do)
		}
	}
	_ = table.Flush()
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if _, err := fmt.Fprintf(w, "note  %s\n", n); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "served as it is: %d, served in another way: %d, not served: %d\n",
		r.Count(Served), r.Count(Differs), r.Count(NotServed))
	return err
}

func (i *Item) where() string {
	if i.Line == 0 {
		return i.File
	}
	return fmt.Sprintf("%s:%d", i.File, i.Line)
}
