package migrate

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/pipeline/adapter"
)

// adapterNotes hold for every rule of prometheus-adapter's.
func adapterNotes() []string {
	return []string{
		"Values are rounded to the thousandth (prometheus-adapter cuts them off: 20/s could be shown as 19999m).",
		"Time stamps are those of the samples, not of the request, so that the age of a value can be seen.",
		"The series have to be in Strata's own store: scraped by it, or written to it (--web.enable-remote-write-receiver).",
		"A metric is there with its first sample; a rule that fails costs its own metrics only.",
	}
}

// Adapter says what of prometheus-adapter's configuration is served: its
// configuration file, a ConfigMap that has it, the values of its chart, and the
// flags of a Deployment. Its error is of a file that cannot be read.
func Adapter(in Input, o Options) (*Report, error) {
	o = o.withDefaults()
	docs, err := objects(in)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	for i := range docs {
		if err := r.adapterObject(&docs[i], in, o); err != nil {
			return nil, err
		}
	}
	if len(r.Items) == 0 {
		return nil, fmt.Errorf("%s: no configuration of prometheus-adapter (give its file, its ConfigMap, its chart's values or its Deployment)", in.Name)
	}
	r.Notes = adapterNotes()
	return r, nil
}

func (r *Report) adapterObject(o *object, in Input, opts Options) error {
	switch {
	case o.kind == "ConfigMap":
		return r.configMap(o, opts)
	case o.kind != "":
		r.podFlags(o)
		return nil
	case isHelmRules(field(o.node, "rules")), field(o.node, "extraArguments") != nil:
		return r.helmValues(o, o.node, opts)
	case field(o.node, "prometheus-adapter") != nil: // as a part of another chart
		return r.helmValues(o, field(o.node, "prometheus-adapter"), opts)
	}
	return r.rules(ruleSource{file: in.Name, data: in.Content, root: o.node}, opts)
}

// configMap reads the entries that have rules.
func (r *Report) configMap(o *object, opts Options) error {
	data := field(o.node, "data")
	for i := 0; data != nil && i+1 < len(data.Content); i += 2 {
		key, value := data.Content[i].Value, data.Content[i+1]
		var doc struct {
			Rules         yaml.Node `yaml:"rules"`
			ExternalRules yaml.Node `yaml:"externalRules"`
			ResourceRules yaml.Node `yaml:"resourceRules"`
		}
		ext := path.Ext(key)
		err := yaml.Unmarshal([]byte(value.Value), &doc)
		if ext != ".yaml" && ext != ".yml" || err == nil && doc.Rules.IsZero() && doc.ExternalRules.IsZero() && doc.ResourceRules.IsZero() {
			continue
		}
		s := ruleSource{file: o.file, of: o.String() + ", " + key, data: []byte(value.Value)}
		if value.Style&yaml.LiteralStyle != 0 {
			// The lines of the entry where they stand in the file.
			s.data = []byte(strings.Repeat("\n", value.Line) + value.Value)
		} else {
			s.line = value.Line
		}
		if err := r.rules(s, opts); err != nil {
			return err
		}
	}
	return nil
}

func isHelmRules(n *yaml.Node) bool { return n != nil && n.Kind == yaml.MappingNode }

// helmLists are the keys of the chart's rules that hold rules, and those of the
// configuration file that they become.
func helmLists() [][2]string {
	return [][2]string{{"custom", "rules"}, {"external", "externalRules"}, {"resource", "resourceRules"}}
}

// helmValues reads the values of the prometheus-adapter chart.
func (r *Report) helmValues(o *object, values *yaml.Node, opts Options) error {
	const of = "values of the prometheus-adapter chart"
	rules := field(values, "rules")
	conf := &yaml.Node{Kind: yaml.MappingNode}
	for _, pair := range helmLists() {
		if list := field(rules, pair[0]); list != nil && len(list.Content) > 0 {
			conf.Content = append(conf.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: pair[1]}, list)
		}
	}
	switch existing := field(rules, "existing"); {
	case text(existing) != "": // instead of all others
		r.Items = append(r.Items, Item{File: o.file, Line: existing.Line, Of: of, What: "rules.existing", Verdict: NotServed,
			Notes: []string{"the rules are in another place: ConfigMap " + existing.Value},
			Do:    "give that ConfigMap to this command (kubectl get configmap -o yaml " + existing.Value + ")"})
		conf.Content = nil
	case text(field(rules, "default")) != "false":
		r.Items = append(r.Items, Item{File: o.file, Line: lineOf(field(rules, "default"), rules), Of: of, What: "rules.default", Verdict: NotServed,
			Notes: []string{"the chart's own rules are not in its values (default: true)"},
			Do:    "give the ConfigMap of the release to this command too (kubectl get configmap -o yaml), or keep rules.default false: Strata's chart has rules of its own"})
	}
	if len(conf.Content) > 0 {
		data, err := yaml.Marshal(conf)
		if err != nil {
			return fmt.Errorf("%s:%d: rules: %w", o.file, rules.Line, err)
		}
		if err := r.rules(ruleSource{file: o.file, of: of, data: data, line: rules.Line, helm: rules}, opts); err != nil {
			return err
		}
	}
	if args := field(values, "extraArguments"); args != nil {
		r.flags(o.file, of, args.Content)
	}
	return nil
}

// ruleSource is a configuration and where it stands.
type ruleSource struct {
	file, of string
	data     []byte
	root     *yaml.Node // of data; nil to parse it
	// line is where data stands as a whole when its own lines are not those of
	// the file; 0 when they are.
	line int
	// helm is the mapping of the chart's values that holds the lists.
	helm *yaml.Node
}

// place is the name and the line of a rule in the file.
func (s *ruleSource) place(id string, line int) (string, int) {
	if s.helm == nil {
		if s.line > 0 {
			line = s.line
		}
		return id, line
	}
	for _, pair := range helmLists() {
		list := field(s.helm, pair[0])
		if id == pair[1] {
			return "rules." + pair[0], lineOf(list, s.helm)
		}
		var i int
		if n, _ := fmt.Sscanf(id, pair[1]+"[%d]", &i); n == 1 && list != nil && i < len(list.Content) {
			return fmt.Sprintf("rules.%s[%d]", pair[0], i), list.Content[i].Line
		}
	}
	return id, s.line
}

// rules says what becomes of each rule of a configuration.
func (r *Report) rules(s ruleSource, o Options) error {
	described, err := adapter.Describe(s.file, s.data, o.Parser)
	if err != nil {
		var ce *adapter.ConfigError
		if errors.As(err, &ce) && s.line > 0 {
			ce.Field, ce.Line = s.place(ce.Field, s.line)
		}
		return err
	}
	for _, d := range described {
		r.Items = append(r.Items, s.item(d, o.Parser))
	}
	conf, err := adapter.ParseConfig(s.file, s.data)
	if err != nil {
		return err
	}
	if conf.ResourceRules != nil {
		root := s.root
		if root == nil {
			var doc yaml.Node
			if yaml.Unmarshal(s.data, &doc) == nil && len(doc.Content) > 0 {
				root = doc.Content[0]
			}
		}
		what, line := s.place("resourceRules", lineOf(field(root, "resourceRules"), root))
		r.Items = append(r.Items, Item{File: s.file, Line: line, Of: s.of, What: what, Gives: "metrics.k8s.io, by strata core", Verdict: Differs,
			Notes: []string{"kubectl top and HPAs on cpu and memory are answered by strata core from the nodes' own readings; these queries are read and not evaluated"},
			Do:    "remove them, and run strata core (the chart does)"})
	}
	return nil
}

func (s *ruleSource) item(d adapter.Described, p parser.Parser) Item {
	item := Item{File: s.file, Of: s.of, Verdict: Served}
	item.What, item.Line = s.place(d.ID, d.Line)
	item.Gives = gives(d)
	if d.Err != nil {
		var ce *adapter.ConfigError
		why, do := d.Err.Error(), "mend the rule"
		if errors.As(d.Err, &ce) {
			_, in, _ := strings.Cut(ce.Field, ".")
			why = strings.TrimPrefix(in+": ", ": ") + strings.ReplaceAll(ce.Err.Error(), "\n", " ")
			do = ce.Repair
		}
		item.refuse(why, do)
		if d.Refused {
			item.Notes = append(item.Notes, "while it is there, the whole configuration is refused")
		}
		return item
	}
	if d.Name == "" {
		item.refuse("it names no metric: seriesFilters or name.matches leave "+d.Series+" out, or the name is empty or has a slash",
			"remove the rule, or correct its name")
		return item
	}
	if why := noNumber(d.Query, p); why != "" {
		item.note(why + " may give NaN or Inf: that is no value here, where prometheus-adapter answers 0 or a huge number")
	}
	return item
}

// gives is what a rule puts into which API.
func gives(d adapter.Described) string {
	switch {
	case d.Name == "" || d.Err != nil && d.Query == "":
		return ""
	case d.External:
		return "external " + d.Name
	}
	return "custom " + d.Name + " of " + strings.Join(d.Resources, ", ")
}

// noNumber names the part of a query that can be NaN or infinite though all
// samples are numbers; "" for none.
func noNumber(query string, p parser.Parser) string {
	expr, err := p.ParseExpr(query)
	if err != nil {
		return ""
	}
	found := ""
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.BinaryExpr:
			if n.Op == parser.DIV || n.Op == parser.MOD {
				if _, constant := n.RHS.(*parser.NumberLiteral); !constant {
					found = "a division"
				}
			}
		case *parser.Call:
			if slices.Contains([]string{"histogram_quantile", "ln", "log2", "log10", "sqrt"}, n.Func.Name) {
				found = n.Func.Name
			}
		}
		return nil
	})
	return found
}
