package apiserver

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/install"
	customapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	generatedcore "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/core"
	generatedcustom "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/custommetrics"
	generatedexternal "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/externalmetrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	generatedresource "github.com/strata-metrics/strata/pipeline/apiserver/openapi"
)

// resourceScheme knows the types of metrics.k8s.io. The library for custom and
// external metrics has a scheme of its own, in a variable, which is left alone.
func resourceScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}

// installResource serves metrics.k8s.io: the same storages in all versions.
func installResource(s *genericapiserver.GenericAPIServer, r *Resource) error {
	scheme := resourceScheme()
	group := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	for _, v := range group.PrioritizedVersions {
		group.VersionedResourcesStorageMap[v.Version] = map[string]rest.Storage{"nodes": r.Nodes, "pods": r.Pods}
	}
	if err := s.InstallAPIGroup(&group); err != nil {
		return fmt.Errorf("install %s: %w", metrics.GroupName, err)
	}
	return nil
}

// openAPI makes both forms of the description of what o serves.
func openAPI(o Options) (*openapicommon.Config, *openapicommon.OpenAPIV3Config) {
	// Ours have the general types, too. The library's add those of all core
	// objects, since a custom metric has a reference to its object.
	getters := []openapicommon.GetOpenAPIDefinitions{generatedresource.GetOpenAPIDefinitions}
	if o.Custom != nil || o.External != nil {
		getters = append(getters, generatedcore.GetOpenAPIDefinitions)
	}
	if o.Custom != nil {
		getters = append(getters, generatedcustom.GetOpenAPIDefinitions)
	}
	if o.External != nil {
		getters = append(getters, generatedexternal.GetOpenAPIDefinitions)
	}
	definitions := func(ref openapicommon.ReferenceCallback) map[string]openapicommon.OpenAPIDefinition {
		all := map[string]openapicommon.OpenAPIDefinition{}
		for _, get := range getters {
			maps.Copy(all, get(ref))
		}
		return all
	}
	namer := openapinamer.NewDefinitionNamer(customapiserver.Scheme, resourceScheme())
	v2 := genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	v3 := genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	v2.Info.Title, v2.Info.Version = o.Name, "1.0.0"
	v3.Info.Title, v3.Info.Version = o.Name, "1.0.0"
	return v2, v3
}

// dynamicGroup is a group whose resources are the metrics there are.
type dynamicGroup struct {
	name     string
	versions []schema.GroupVersion // preferred first
	lister   discovery.APIResourceLister
}

func (s *Server) dynamicGroups() []dynamicGroup {
	var groups []dynamicGroup
	add := func(name string, lister discovery.APIResourceLister) {
		versions := customapiserver.Scheme.PrioritizedVersionsForGroup(name)
		// The library's own order prefers v1beta1 of custom metrics.
		slices.SortFunc(versions, func(a, b schema.GroupVersion) int {
			return version.CompareKubeAwareVersionStrings(b.Version, a.Version)
		})
		groups = append(groups, dynamicGroup{name, versions, lister})
	}
	if s.o.Custom != nil {
		add(custom_metrics.GroupName, provider.NewCustomMetricResourceLister(s.o.Custom))
	}
	if s.o.External != nil {
		add(external_metrics.GroupName, provider.NewExternalMetricResourceLister(s.o.External))
	}
	return groups
}

// listVersions corrects what the library says in /apis: it names the first
// version of a group only, though it serves all.
func (s *Server) listVersions(generic *genericapiserver.GenericAPIServer) {
	s.groups.manager = generic.DiscoveryGroupManager
	for _, g := range s.dynamicGroups() {
		group := metav1.APIGroup{Name: g.name}
		for _, v := range g.versions {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: v.String(), Version: v.Version})
		}
		group.PreferredVersion = group.Versions[0]
		s.groups.add(group)
		container := generic.Handler.GoRestfulContainer
		for _, ws := range container.RegisteredWebServices() {
			if ws.RootPath() == genericapiserver.APIGroupPrefix+"/"+g.name {
				_ = container.Remove(ws) // only fails for a service that is not there
			}
		}
		container.Add(discovery.NewAPIGroupHandler(generic.Serializer, group).WebService())
	}
}

// currentDiscovery is aggregated discovery that looks at the metrics there are
// when it is asked: a new metric is in it with its first sample.
type currentDiscovery struct {
	aggregated.ResourceManager
	groups []dynamicGroup
	serves func(group string) bool

	mu     sync.Mutex
	looked time.Time
	served map[string][]apidiscoveryv2.APIResourceDiscovery
}

// ServeHTTP implements http.Handler.
func (d *currentDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.look(time.Now())
	d.ResourceManager.ServeHTTP(w, r)
}

// look brings the groups up to date, at most once a second.
func (d *currentDiscovery) look(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.looked) < time.Second {
		return
	}
	d.looked = now
	for _, g := range d.groups {
		if !d.serves(g.name) {
			d.RemoveGroup(g.name)
			delete(d.served, g.name)
			continue
		}
		resources := discoveryOf(g.lister.ListAPIResources())
		if old, ok := d.served[g.name]; ok && reflect.DeepEqual(old, resources) {
			continue
		}
		if d.served == nil {
			d.served = map[string][]apidiscoveryv2.APIResourceDiscovery{}
		}
		d.served[g.name] = resources
		for i, v := range g.versions {
			d.AddGroupVersion(g.name, apidiscoveryv2.APIVersionDiscovery{
				Version: v.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Resources: resources,
			})
			// Equal priorities of groups are sorted by name; the first version is preferred.
			d.SetGroupVersionPriority(metav1.GroupVersion(v), 0, len(g.versions)-i)
		}
	}
}

// discoveryOf puts metrics into the form of aggregated discovery, where a
// metric of pods is a subresource of pods. Of metrics that differ in whether
// their object is in a namespace, the form takes one kind; the first wins.
func discoveryOf(list []metav1.APIResource) []apidiscoveryv2.APIResourceDiscovery {
	scopes := map[string]bool{}
	kept := make([]metav1.APIResource, 0, len(list))
	for _, r := range list {
		parent, _, _ := strings.Cut(r.Name, "/")
		namespaced, known := scopes[parent]
		if !known {
			scopes[parent], namespaced = r.Namespaced, r.Namespaced
		}
		if namespaced == r.Namespaced {
			kept = append(kept, r)
		}
	}
	resources, err := endpoints.ConvertGroupVersionIntoToDiscovery(kept)
	if err != nil {
		return nil // only for the mix of scopes that was left out above
	}
	for i := range resources {
		showParent(&resources[i])
	}
	return resources
}

// showParent gives a resource that is there for its subresources alone what
// clients list it by: without a kind, kubectl api-resources would show nothing
// of the group, since it leaves subresources out.
func showParent(r *apidiscoveryv2.APIResourceDiscovery) {
	if len(r.Subresources) == 0 || r.ResponseKind != nil && *r.ResponseKind != (metav1.GroupVersionKind{}) {
		return
	}
	r.ResponseKind, r.Verbs = r.Subresources[0].ResponseKind, r.Subresources[0].Verbs
}
