package adapter

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Mapper knows the resources of the cluster. A meta.RESTMapper is one; NewMapper
// makes one that asks the API server.
type Mapper interface {
	// ResourceFor completes a resource: group, version and plural. Its error is
	// a no-match error of package meta where there is no such resource.
	ResourceFor(schema.GroupVersionResource) (schema.GroupVersionResource, error)
	// KindFor is the kind of a resource.
	KindFor(schema.GroupVersionResource) (schema.GroupVersionKind, error)
	// RESTMapping knows whether a kind has namespaces.
	RESTMapping(schema.GroupKind, ...string) (*meta.RESTMapping, error)
	// ResourceSingularizer is the singular of a resource.
	ResourceSingularizer(string) (string, error)
}

// How long what the mapper said is believed.
const (
	knownFor   = 10 * time.Minute
	unknownFor = 30 * time.Second
	// maxResources bounds the memory that requests for made-up names can take.
	maxResources = 4096
)

// errUnmapped means that a rule has no label for a resource.
var errUnmapped = errors.New("no label is mapped to the resource")

// resource is what the cluster says of one.
type resource struct {
	gvr        schema.GroupVersionResource
	kind       schema.GroupVersionKind
	singular   string
	namespaced bool
}

type knownResource struct {
	*resource
	err   error
	until time.Time
}

// resources remembers what the mapper said.
type resources struct {
	mapper Mapper
	now    func() time.Time

	mu    sync.Mutex // guards known, never held while the mapper is asked
	known map[schema.GroupResource]knownResource
}

func newResources(m Mapper, now func() time.Time) *resources {
	return &resources{mapper: m, now: now, known: map[schema.GroupResource]knownResource{}}
}

// get finds a resource, plural or singular, its group complete, begun or left
// out.
func (rs *resources) get(gr schema.GroupResource) (*resource, error) {
	now := rs.now()
	rs.mu.Lock()
	k, ok := rs.known[gr]
	rs.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.resource, k.err
	}
	res, err := rs.ask(gr)
	until := now.Add(knownFor)
	switch {
	case unknownResource(err):
		until = now.Add(unknownFor)
	case err != nil && ok && k.resource != nil:
		return k.resource, nil // the API server is away: what was true still is
	case err != nil:
		return nil, err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.known) >= maxResources {
		clear(rs.known)
	}
	rs.known[gr] = knownResource{resource: res, err: err, until: until}
	return res, err
}

func (rs *resources) ask(gr schema.GroupResource) (*resource, error) {
	if rs.mapper == nil {
		return nil, &meta.NoResourceMatchError{PartialResource: gr.WithVersion("")}
	}
	gvr, err := rs.mapper.ResourceFor(gr.WithVersion(""))
	if err != nil {
		return nil, err
	}
	kind, err := rs.mapper.KindFor(gvr)
	if err != nil {
		return nil, err
	}
	mapping, err := rs.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	singular, err := rs.mapper.ResourceSingularizer(gvr.Resource)
	if err != nil {
		return nil, err
	}
	return &resource{gvr: gvr, kind: kind, singular: singular,
		namespaced: mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

// unknownResource tells "the cluster has no such resource" from "the cluster
// cannot be asked".
func unknownResource(err error) bool {
	return err != nil && (meta.IsNoMatchError(err) || meta.IsAmbiguousError(err))
}

var namespaces = schema.GroupResource{Resource: "namespaces"}

// labelMapping joins the labels of one rule's series with resources.
type labelMapping struct {
	resources *resources
	overrides map[string]schema.GroupResource // by label
	order     []string                        // labels of overrides, sorted
	template  *template.Template              // nil for none
	extract   *regexp.Regexp                  // the template as an expression
	groupAt   int                             // index of its group, -1 for none
	resAt     int
}

// templateArgs are what a label template may use.
type templateArgs struct{ Group, Resource string }

func (c *compiler) mapping(r *Rule, rm *ResourceMapping) (*labelMapping, error) {
	m := &labelMapping{resources: c.resources, overrides: make(map[string]schema.GroupResource, len(rm.Overrides)), groupAt: -1}
	m.order = slices.Sorted(maps.Keys(rm.Overrides))
	for _, label := range m.order {
		gr := schema.GroupResource{Group: rm.Overrides[label].Group, Resource: rm.Overrides[label].Resource}
		if _, err := m.resources.get(gr); unknownResource(err) {
			return nil, c.fail(r, fmt.Errorf("the cluster has no resource %q: %w", gr.String(), err),
				"name a resource of kubectl api-resources and its group, without a version", "resources", "overrides", label)
		}
		m.overrides[label] = gr
	}
	if rm.Template == "" {
		return m, nil
	}
	fail := func(err error) error {
		return c.fail(r, err, `write a label's name around <<.Resource>>, such as "kube_<<.Resource>>"`, "resources", "template")
	}
	var err error
	if m.template, err = newTemplate("template", rm.Template); err != nil {
		return nil, fail(err)
	}
	pattern, err := m.label(templateArgs{Group: "(?P<group>.+?)", Resource: "(?P<resource>.+?)"})
	if err != nil {
		return nil, fail(err)
	}
	if m.extract, err = regexp.Compile("^" + pattern + "$"); err != nil {
		return nil, fail(err)
	}
	m.groupAt, m.resAt = m.extract.SubexpIndex("group"), m.extract.SubexpIndex("resource")
	if m.resAt < 0 {
		return nil, fail(errors.New("<<.Resource>> is not in the template"))
	}
	return m, nil
}

func (m *labelMapping) label(args templateArgs) (string, error) {
	var b strings.Builder
	if err := m.template.Execute(&b, args); err != nil {
		return "", err
	}
	return b.String(), nil
}

// labelName may be in a label's name where a group has dots and dashes.
var labelName = strings.NewReplacer(".", "_", "-", "_", "/", "_")

// labelFor is the label that carries the names of a resource.
func (m *labelMapping) labelFor(gr schema.GroupResource) (string, error) {
	want, err := m.resources.get(gr)
	if err != nil {
		return "", err
	}
	for _, label := range m.order {
		if res, err := m.resources.get(m.overrides[label]); err != nil {
			if !unknownResource(err) {
				return "", err
			}
		} else if res.gvr.GroupResource() == want.gvr.GroupResource() {
			return label, nil
		}
	}
	if m.template == nil {
		return "", fmt.Errorf("%s: %w", gr.String(), errUnmapped)
	}
	return m.label(templateArgs{Group: labelName.Replace(want.gvr.Group), Resource: want.singular})
}

// resourceOf is the resource whose names a label carries; nil for none.
func (m *labelMapping) resourceOf(label string) (*resource, error) {
	gr, ok := m.overrides[label]
	if !ok && m.extract != nil {
		at := m.extract.FindStringSubmatch(label)
		if at == nil {
			return nil, nil
		}
		gr.Resource, ok = at[m.resAt], true
		if m.groupAt >= 0 {
			gr.Group = at[m.groupAt]
		}
	}
	if !ok {
		return nil, nil
	}
	res, err := m.resources.get(gr)
	if unknownResource(err) {
		return nil, nil
	}
	return res, err
}

// has tells whether a series names an object of the resource.
func (m *labelMapping) has(l labels.Labels, want *resource) (bool, error) {
	found, failed := false, error(nil)
	l.Range(func(lb labels.Label) {
		if found || failed != nil {
			return
		}
		res, err := m.resourceOf(lb.Name)
		failed = err
		found = res != nil && res.gvr.GroupResource() == want.gvr.GroupResource()
	})
	return found, failed
}
