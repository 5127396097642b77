package apiserver

import (
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// groupSwitch hides the groups of custom and external metrics that Options.Serves
// does not name now: they are answered as groups that are not there, and not
// listed. It stands behind authorization, so that who may see nothing learns
// nothing from it.
type groupSwitch struct {
	serves  func(group string) bool
	next    http.Handler
	manager discovery.GroupManager // of /apis; set before the first request

	mu     sync.Mutex // guards all below
	groups []metav1.APIGroup
	hidden map[string]bool // as manager has it
}

// ServeHTTP implements http.Handler.
func (g *groupSwitch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, genericapiserver.APIGroupPrefix)
	if !ok || rest != "" && rest[0] != '/' {
		g.next.ServeHTTP(w, r)
		return
	}
	if name, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/"); name != "" {
		if g.switches(name) && !g.serves(name) {
			err := apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "", 0, true)
			responsewriters.ErrorNegotiated(err, customapiserver.Codecs, schema.GroupVersion{}, w, r)
			return
		}
		if err := checkMetricSelector(name, r); err != nil {
			responsewriters.ErrorNegotiated(err, customapiserver.Codecs, schema.GroupVersion{}, w, r)
			return
		}
	} else {
		g.list()
	}
	g.next.ServeHTTP(w, r)
}

// checkMetricSelector refuses a selector of series that cannot be read. The
// library would call it an error of the server.
func checkMetricSelector(group string, r *http.Request) error {
	if group != custom_metrics.GroupName {
		return nil
	}
	for _, selector := range r.URL.Query()["metricLabelSelector"] {
		if _, err := labels.Parse(selector); err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	return nil
}

// add puts a group under the switch.
func (g *groupSwitch) add(group metav1.APIGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = append(g.groups, group)
	g.manager.AddGroup(group)
}

// switches tells whether a group is under the switch; others always are served.
func (g *groupSwitch) switches(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, group := range g.groups {
		if group.Name == name {
			return true
		}
	}
	return false
}

// list brings what /apis lists up to date.
func (g *groupSwitch) list() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, group := range g.groups {
		hide := !g.serves(group.Name)
		switch {
		case hide == g.hidden[group.Name]:
			continue
		case hide:
			g.manager.RemoveGroup(group.Name)
		default:
			g.manager.AddGroup(group)
		}
		if g.hidden == nil {
			g.hidden = map[string]bool{}
		}
		g.hidden[group.Name] = hide
	}
}
