package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scaledObject is what of a ScaledObject or ScaledJob is looked at.
type scaledObject struct {
	object
	spec struct {
		ScaleTargetRef struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Name       string `yaml:"name"`
		} `yaml:"scaleTargetRef"`
		CooldownPeriod  *int32    `yaml:"cooldownPeriod"`
		MinReplicaCount *int32    `yaml:"minReplicaCount"`
		MaxReplicaCount *int32    `yaml:"maxReplicaCount"`
		Triggers        []trigger `yaml:"triggers"`
	}
	// keeps are the pieces because of which it stays in KEDA; empty where an HPA
	// takes over.
	keeps []string
}

// trigger is one of its triggers.
type trigger struct {
	Type       string            `yaml:"type"`
	Name       string            `yaml:"name"`
	MetricType string            `yaml:"metricType"`
	Metadata   map[string]string `yaml:"metadata"`
	Auth       struct {
		Name string `yaml:"name"`
	} `yaml:"authenticationRef"`

	node *yaml.Node
	what string // its place in the object
	row  *triggerRow
	// metric is the external metric that answers it, "" for none.
	metric string
	rule   *externalRule
}

// min is the number of replicas to go down to.
func (o *scaledObject) min() int32 {
	if o.spec.MinReplicaCount == nil {
		return 0
	}
	return *o.spec.MinReplicaCount
}

func (o *scaledObject) hpa() bool { return len(o.keeps) == 0 }

func (o *scaledObject) plan() string {
	if o.hpa() {
		return "an HPA takes over"
	}
	return "stays in KEDA because of " + strings.Join(o.keeps, ", ")
}

// has tells whether a trigger is served in some way.
func (o *scaledObject) has(w way) bool {
	return slices.ContainsFunc(o.spec.Triggers, func(t trigger) bool { return t.row != nil && t.row.way == w })
}

// KEDA says what of ScaledObjects and ScaledJobs is served, and writes the
// HPAs, external rules and ScaledObjects that take over. Its error is of a file
// that cannot be read.
func KEDA(in []Input, o Options) (*Report, error) {
	k := &keda{options: o.withDefaults(), report: &Report{}, names: map[string]bool{}}
	for _, file := range in {
		docs, err := objects(file)
		if err != nil {
			return nil, err
		}
		for i := range docs {
			switch docs[i].kind {
			case "ScaledObject", "ScaledJob":
				so, err := newScaledObject(&docs[i])
				if err != nil {
					return nil, err
				}
				k.objects = append(k.objects, so)
			case "TriggerAuthentication", "ClusterTriggerAuthentication":
				k.auths = append(k.auths, &docs[i])
			}
		}
	}
	if len(k.objects) == 0 {
		names := make([]string, len(in))
		for i := range in {
			names[i] = in[i].Name
		}
		return nil, fmt.Errorf("%s: no ScaledObject and no ScaledJob (kubectl get scaledobjects,scaledjobs -A -o yaml gives them)", strings.Join(names, ", "))
	}
	k.decide()
	for _, so := range k.objects {
		k.object(so)
	}
	for _, a := range k.auths {
		k.auth(a)
	}
	k.finish()
	return k.report, nil
}

// keda is one run over the objects of KEDA.
type keda struct {
	options Options
	report  *Report
	objects []*scaledObject
	auths   []*object
	names   map[string]bool // of metrics and files that are taken
	rules   []*externalRule
	stays   string // the first object that stays in KEDA, "" for none
}

func newScaledObject(o *object) (*scaledObject, error) {
	so := &scaledObject{object: *o}
	spec := field(o.node, "spec")
	if spec == nil {
		return nil, fmt.Errorf("%s:%d: %s has no spec", o.file, o.node.Line, o)
	}
	// The whole of it first: an alias that holds itself, or too many of them, end
	// here.
	var tree any
	if err := o.node.Decode(&tree); err != nil {
		return nil, yamlError(o.file, err)
	}
	if err := spec.Decode(&so.spec); err != nil {
		return nil, yamlError(o.file, err)
	}
	list := field(spec, "triggers")
	if list == nil || len(list.Content) != len(so.spec.Triggers) {
		return nil, fmt.Errorf("%s:%d: %s has no spec.triggers of its own (write them out, without <<)", o.file, spec.Line, o)
	}
	for i := range so.spec.Triggers {
		t := &so.spec.Triggers[i]
		t.node, t.row = list.Content[i], rowOf(t.Type)
		t.what = fmt.Sprintf("spec.triggers[%d] (%s)", i, t.Type)
	}
	if len(so.spec.Triggers) == 0 {
		return nil, fmt.Errorf("%s:%d: %s has no triggers", o.file, spec.Line, o)
	}
	return so, nil
}

// decide says of each object whether an HPA can take over. There is one
// external.metrics.k8s.io: while one object stays in KEDA it is KEDA's, and so
// all that have an external metric stay.
func (k *keda) decide() {
	for _, o := range k.objects {
		if o.kind == "ScaledJob" {
			o.keeps = append(o.keeps, "its kind (an HPA scales no Jobs)")
		}
		for _, row := range objectFields() {
			if n := row.node(o); row.keeps && n != nil && (row.same == nil || !row.same(o, n)) && o.kind == "ScaledObject" {
				o.keeps = append(o.keeps, row.name())
			}
		}
		for i := range o.spec.Triggers {
			if t := &o.spec.Triggers[i]; t.row == nil || t.row.way == byKEDA {
				o.keeps = append(o.keeps, t.what)
			}
		}
		if o.kind == "ScaledObject" && o.min() == 0 && o.has(byQuery) && o.has(byResource) {
			o.keeps = append(o.keeps, "spec.minReplicaCount 0 beside cpu or memory (with which an HPA does not go to 0)")
		}
		if k.stays == "" && !o.hpa() {
			k.stays = o.String()
		}
	}
	for _, o := range k.objects {
		if o.hpa() && k.stays != "" && o.has(byQuery) {
			o.keeps = append(o.keeps, "external.metrics.k8s.io, which is KEDA's as long as "+k.stays+" stays")
		}
	}
}

// object says what becomes of each field and trigger.
func (k *keda) object(o *scaledObject) {
	add := func(item Item) {
		item.File, item.Of, item.Plan = o.file, o.String(), o.plan()
		k.report.Items = append(k.report.Items, item)
	}
	if o.kind == "ScaledObject" {
		for _, row := range objectFields() {
			if item, ok := row.judge(o); ok {
				add(item)
			}
		}
	}
	refused := false
	for i := range o.spec.Triggers {
		item := k.trigger(o, &o.spec.Triggers[i])
		refused = refused || item.Verdict == NotServed && o.spec.Triggers[i].row != nil && o.spec.Triggers[i].row.way != byKEDA
		add(item)
	}
	if refused {
		return // a file that is not complete would be taken for one that is
	}
	for i := range o.spec.Triggers {
		if t := &o.spec.Triggers[i]; t.rule != nil {
			k.rules = append(k.rules, t.rule)
		}
	}
	switch {
	case o.hpa():
		k.write(o, "hpa", o.writeHPA)
	case o.has(byQuery):
		k.write(o, strings.ToLower(o.kind), func() ([]byte, error) { return o.writeKEDA(k.options.ScalerAddress) })
	}
}

// judge is the item of a field; false where there is nothing to say.
func (row *fieldRow) judge(o *scaledObject) (Item, bool) {
	n := row.node(o)
	zero := row.gives == "minReplicas: 0" && n == nil && o.min() == 0 && o.has(byQuery)
	if n == nil && !zero {
		return Item{}, false
	}
	// In KEDA all stays as it is, but for what keeps it there.
	if !o.hpa() && !row.keeps {
		return Item{}, false
	}
	item := Item{Line: lineOf(n, field(o.node, "spec")), What: row.name(), Verdict: Served}
	if n == nil {
		item.What += " (0 by default)"
	}
	if row.same != nil && row.same(o, n) {
		return item, true
	}
	item.Verdict, item.Gives, item.Notes, item.Do = row.verdict, row.gives, []string{row.note}, row.do
	if row.keeps {
		item.Do = "keep the object in KEDA, or do without"
	}
	return item, true
}

// trigger says what becomes of a trigger.
func (k *keda) trigger(o *scaledObject, t *trigger) Item {
	item := Item{Line: t.node.Line, What: t.what, Verdict: Served}
	if t.row == nil {
		item.refuse("an unknown type of trigger", "keep it in KEDA")
		return item
	}
	switch t.row.way {
	case byQuery:
		k.query(o, t, &item)
	case byResource:
		resource(o, t, &item)
	case byKEDA:
		do := "keep it in KEDA"
		if alt := t.row.instead(t.Metadata); alt != "" {
			do += ", or " + alt
		}
		item.refuse("KEDA asks "+t.row.asks+" itself", do)
		if t.row.note != "" {
			item.Notes = append(item.Notes, t.row.note)
		}
	}
	return item
}

// resource judges a trigger of cpu or memory.
func resource(o *scaledObject, t *trigger, item *Item) {
	metric, err := t.resourceMetric()
	if err != nil {
		item.refuse(err.Error(), "correct it")
		return
	}
	item.Gives = string(metric.Type) + " " + t.Type + ", from metrics.k8s.io by strata core"
	if o.min() == 0 && !o.has(byQuery) && o.hpa() {
		item.note("minReplicas is 1: with cpu and memory alone nothing goes to 0, in KEDA neither")
	}
}

// query judges a trigger with a query, and makes its rule.
func (k *keda) query(o *scaledObject, t *trigger, item *Item) {
	query := strings.TrimSpace(t.Metadata["query"])
	expr, err := k.options.Parser.ParseExpr(query)
	if query == "" {
		err = errors.New("it is missing")
	}
	if err != nil {
		item.refuse("metadata.query: "+strings.ReplaceAll(err.Error(), "\n", " "), "correct the query")
		return
	}
	if _, err := t.target(); err != nil {
		item.refuse(err.Error(), "write a number above 0")
		return
	}
	activation, err := number(t.Metadata["activationThreshold"], 0)
	if err != nil {
		item.refuse("metadata.activationThreshold: "+err.Error(), "write a number")
		return
	}
	t.metric = k.name(o, t)
	item.Gives = "external metric " + t.metric
	if !o.hpa() {
		item.note("it becomes a trigger of type external, which asks Strata at " + k.options.ScalerAddress)
	} else if activation != 0 && o.min() == 0 {
		query = fmt.Sprintf("(%s) * ((%s) > bool %s)", query, query, strconv.FormatFloat(activation, 'g', -1, 64))
		item.note("an HPA has no activationThreshold: the rule gives 0 up to it")
	}
	if v, _ := strconv.ParseBool(t.Metadata["ignoreNullValues"]); (v || t.Metadata["ignoreNullValues"] == "") && !hasDefault(expr) {
		item.note("no value, NaN and Inf are an error, on which nothing is scaled, where KEDA takes 0 (ignoreNullValues)")
		item.Do = "add `or vector(0)` to the query where nothing means 0"
	}
	if !single(expr) {
		item.note("the query can give several series: KEDA gives an error then, Strata their sum")
	}
	for _, f := range prometheusFields() {
		if v, ok := t.Metadata[f.name]; ok && v != f.same {
			item.note("metadata." + f.name + " " + f.note)
		}
	}
	if t.Auth.Name != "" {
		item.note("authenticationRef is not needed for Strata's own store")
	}
	t.rule = &externalRule{of: o.String() + ", " + t.what, metric: t.metric, query: query}
}

// name makes a name for the metric of a trigger that no other has.
func (k *keda) name(o *scaledObject, t *trigger) string {
	part := t.Name
	if part == "" {
		part = strconv.Itoa(slices.IndexFunc(o.spec.Triggers, func(x trigger) bool { return x.node == t.node }))
	}
	return k.unique(strings.Trim(o.namespace+"-"+o.name+"-"+strings.NewReplacer("/", "-", "%", "-").Replace(part), "-"))
}

// unique is a name that none has yet.
func (k *keda) unique(base string) string {
	name := base
	for i := 2; k.names[name]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	k.names[name] = true
	return name
}

// auth says whether a TriggerAuthentication is still needed.
func (k *keda) auth(a *object) {
	item := Item{File: a.file, Line: a.node.Line, Of: a.String(), What: "as a whole", Verdict: Differs,
		Notes: []string{"nothing that stays in KEDA refers to it: it is not needed"}}
	for _, o := range k.objects {
		for i := range o.spec.Triggers {
			t := &o.spec.Triggers[i]
			if t.Auth.Name == a.name && (t.row == nil || t.row.way == byKEDA) {
				item.Verdict, item.Notes = Served, []string{"it stays in KEDA for " + o.String() + ", " + t.what}
			}
		}
	}
	k.report.Items = append(k.report.Items, item)
}

// finish adds the file of rules and what holds for all.
func (k *keda) finish() {
	note := func(s string) { k.report.Notes = append(k.report.Notes, s) }
	if len(k.rules) > 0 {
		k.report.Files = append([]File{{Name: rulesFile, Content: writeRules(k.rules)}}, k.report.Files...)
		note("The series of the queries have to be in Strata's own store: scraped by it, or written to it. metadata.serverAddress has no meaning.")
		note("The external rules answer in every namespace: who may read external metrics of one can read them all.")
	}
	if k.stays != "" {
		note("KEDA stays, and with it its external.metrics.k8s.io: leave that API out of Strata's (server.adapter.apiServices in the chart), and start strata server with --keda.listen-address.")
	}
	if slices.ContainsFunc(k.objects, (*scaledObject).hpa) {
		note("Delete the ScaledObject before its HPA is applied: two autoscalers of one target work against each other. Deleting it leaves the replicas as they are.")
	}
}
