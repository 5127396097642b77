package lint

import "slices"

// support says what becomes of a type of panels.
type support uint8

const (
	unknown support = iota // neither the page nor Grafana itself has it
	shown                  // by the page and by Grafana
	grafana                // by Grafana alone
	removed                // from Grafana
	silent                 // shown by Grafana alone, and asks nothing
)

// panelType gives the support of a type, and the type to use instead where it
// is not shown by both.
func panelType(name string) (support, string) {
	switch name {
	case "timeseries", "stat", "gauge", "table", "row", "text":
		return shown, ""
	case "barchart", "bargauge", "candlestick", "geomap", "heatmap", "histogram", "logs", "nodeGraph", "piechart", "state-timeline", "status-history",
		"trend", "traces", "flamegraph", "xychart", "canvas":
		return grafana, "timeseries, stat, gauge or table"
	case "alertlist", "annolist", "dashlist", "news", "welcome", "gettingstarted", "datagrid":
		return silent, "text"
	case "graph":
		return removed, "timeseries"
	case "singlestat":
		return removed, "stat"
	case "table-old":
		return removed, "table"
	}
	return unknown, "timeseries, stat, gauge or table"
}

// panels checks the panels below n: those of a dashboard, of a collapsed row,
// and of the rows that dashboards had before version 16 of the schema.
func (c *checker) panels(n *node) {
	for _, p := range n.get("panels").list() {
		c.panel(p)
	}
	for _, row := range n.get("rows").list() {
		c.panels(row)
	}
}

func (c *checker) panel(p *node) {
	if p.kind != object {
		c.errorAt(p.start, "a panel must be a JSON object")
		return
	}
	typ, title := p.get("type").str(), p.get("title").str()
	what := "a panel without a title"
	if title != "" {
		what = "panel \"" + title + "\""
	}
	c.id(what, p)
	if repeat := p.get("repeat"); repeat.str() != "" && !c.known(repeat.str()) {
		c.errorAt(repeat.start, "%s is repeated for the variable %s, which the dashboard does not declare (%s)", what, repeat.str(), c.suggest(repeat.str()))
	}
	if typ == "row" {
		c.panels(p)
		return
	}
	if p.get("libraryPanel") != nil {
		c.warnAt(p.start, "%s is kept in Grafana's library and is not in this file (unlink it in Grafana to have it here)", what)
		return
	}
	if typ == "" {
		c.errorAt(p.start, "%s has no type (add \"type\": \"timeseries\")", what)
		return
	}
	c.panelType(what, typ, p.get("type"))
	if s, _ := panelType(typ); s != silent && typ != "text" {
		c.targets(what, p)
	}
}

func (c *checker) panelType(what, typ string, at *node) {
	switch s, instead := panelType(typ); s {
	case removed:
		c.warnAt(at.start, "%s has type %s, which Grafana no longer has (use %s)", what, typ, instead)
	case grafana, silent:
		c.warnAt(at.start, "%s has type %s, which Grafana shows and Strata's page does not (it shows %s)", what, typ, instead)
	case unknown:
		c.warnAt(at.start, "%s has the unknown type %s: neither Strata's page nor Grafana without a plugin shows it (use %s)", what, typ, instead)
	}
}

// id reports panels that share one.
func (c *checker) id(what string, p *node) {
	id := p.get("id")
	if id == nil {
		return
	}
	if first, ok := c.ids[id.text]; ok {
		line, _ := position(c.content, first)
		c.errorAt(id.start, "%s has the id %s of the panel at line %d: links open only one of them (give it another)", what, id.text, line)
		return
	}
	c.ids[id.text] = p.start
}

// promQL says whether a target, or a variable, of a panel asks in PromQL.
func (c *checker) promQL(n, panel *node) bool {
	source := n.get("datasource")
	if source == nil {
		source = panel.get("datasource")
	}
	if source == nil || source.kind != object {
		return true // the default, or named by a variable
	}
	typ := source.get("type").str()
	c.undefined("a data source", source.get("uid"))
	return typ == "" || typ == "prometheus" || typ == "mixed"
}

func (c *checker) targets(what string, p *node) {
	targets := p.get("targets").list()
	if len(targets) == 0 {
		c.errorAt(p.start, "%s asks nothing: it has no targets (add a query, or remove the panel)", what)
		return
	}
	var refs []string
	for _, t := range targets {
		ref := t.get("refId").str()
		of := "a query of " + what
		if ref != "" {
			of = "query " + ref + " of " + what
		}
		if ref != "" && slices.Contains(refs, ref) {
			c.errorAt(t.start, "%s has the letter of another query, and one hides the other (give it another refId)", of)
		}
		refs = append(refs, ref)
		if !c.promQL(t, p) {
			c.warnAt(t.start, "%s asks a data source that is not Prometheus; Strata's page does not show it, and it was not checked", of)
			continue
		}
		expr := t.get("expr")
		if expr.str() == "" {
			at := t
			if expr != nil {
				at = expr
			}
			c.errorAt(at.start, "%s is empty (add \"expr\": \"...\", or remove it)", of)
			continue
		}
		c.undefined(of, expr)
		c.query(of, expr, expr.text, 0)
	}
}
