package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// configFile is what the file of --config may hold, by the keys of
// kube-state-metrics. What it holds goes before the flags.
type configFile struct {
	Annotations   allowlists `yaml:"annotations_allow_list"`
	Labels        allowlists `yaml:"labels_allow_list"`
	Allow         names      `yaml:"metric_allowlist"`
	Deny          names      `yaml:"metric_denylist"`
	OptIn         names      `yaml:"metric_opt_in_list"`
	Resources     names      `yaml:"resources"`
	Namespaces    names      `yaml:"namespaces"`
	Denied        names      `yaml:"namespaces_denylist"`
	APIServer     *string    `yaml:"apiserver"`
	Kubeconfig    *string    `yaml:"kubeconfig"`
	Host          *string    `yaml:"host"`
	Port          *int       `yaml:"port"`
	TelemetryHost *string    `yaml:"telemetry_host"`
	TelemetryPort *int       `yaml:"telemetry_port"`
	TLSConfig     *string    `yaml:"tls_config"`
	Node          *string    `yaml:"node"`
	Pod           *string    `yaml:"pod"`
	PodNamespace  *string    `yaml:"namespace"`
	Shard         *int32     `yaml:"shard"`
	TotalShards   *int       `yaml:"total_shards"`
	Unscheduled   *bool      `yaml:"track_unscheduled_pods"`
	Cached        *bool      `yaml:"use_api_server_cache"`
	ObjectLimit   *int64     `yaml:"object_limit"`
	AuthFilter    *bool      `yaml:"auth_filter"`
	Gzip          *bool      `yaml:"enable_gzip_encoding"`
	MemLimit      *bool      `yaml:"auto-gomemlimit"`
	MemRatio      *float64   `yaml:"auto-gomemlimit-ratio"`
	CustomOnly    *bool      `yaml:"custom_resources_only"`
	Custom        *string    `yaml:"custom_resource_config"`
	CustomFile    *string    `yaml:"custom_resource_state_config_file"`
	CustomFileOld *string    `yaml:"custom_resource_config_file"`
	ReadTimeout   *duration  `yaml:"server_read_timeout"`
	Sparse        *bool      `yaml:"sparse_states"`
	ByObject      *bool      `yaml:"lines_by_object"`
	Workloads     *bool      `yaml:"pod_workloads"`
	WorkLabels    names      `yaml:"pod_workload_labels"`
	Join          allowlists `yaml:"metric_join_labels"`
	CounterSeries *int       `yaml:"counter_series_limit"`
	Exits         *bool      `yaml:"container_exits"`
	BudgetFamily  *int       `yaml:"series_budget_family"`
	BudgetSpace   *int       `yaml:"series_budget_namespace"`

	// Known, and without a meaning here.
	Help                  *bool     `yaml:"help"`
	Config                *string   `yaml:"config"`
	ContinueWithout       *bool     `yaml:"continue_without_config"`
	ContinueWithoutCustom *bool     `yaml:"continue_without_custom_resource_state_config_file"`
	WriteTimeout          *duration `yaml:"server_write_timeout"`
	IdleTimeout           *duration `yaml:"server_idle_timeout"`
	ReadHeaderTimeout     *duration `yaml:"server_read_header_timeout"`
}

// names are a list, the keys of a map, or text with commas.
type names []string

// UnmarshalYAML reads any of the three.
func (n *names) UnmarshalYAML(node *yaml.Node) error {
	switch node.Kind {
	case yaml.MappingNode:
		var set map[string]any
		if err := node.Decode(&set); err != nil {
			return err
		}
		*n = slices.Sorted(maps.Keys(set))
		return nil
	case yaml.ScalarNode:
		*n = split([]string{node.Value})
		return nil
	}
	return node.Decode((*[]string)(n))
}

// allowlists are a map of lists, or text in the form of the flag.
type allowlists []string

// UnmarshalYAML turns the map into the form of the flag.
func (a *allowlists) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*a = allowlists{node.Value}
		return nil
	}
	var lists map[string][]string
	if err := node.Decode(&lists); err != nil {
		return err
	}
	for _, resource := range slices.Sorted(maps.Keys(lists)) {
		*a = append(*a, resource+"=["+strings.Join(lists[resource], ",")+"]")
	}
	return nil
}

// duration is text such as 60s.
type duration time.Duration

// UnmarshalYAML reads the text.
func (d *duration) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := time.ParseDuration(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*d = duration(parsed)
	return nil
}

// over lays the content of a file over flags.
func over(f flags, content []byte) (flags, error) {
	var c configFile
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return f, errors.New(strings.Join(strings.Fields(err.Error()), " ")) // on one line
	}
	lists := func(to *[]string, from []string) {
		if len(from) > 0 {
			*to = from
		}
	}
	lists(&f.annotations, c.Annotations)
	lists(&f.labels, c.Labels)
	lists(&f.join, c.Join)
	lists(&f.workloadLabels, c.WorkLabels)
	lists(&f.allow, c.Allow)
	lists(&f.deny, c.Deny)
	lists(&f.optIn, c.OptIn)
	lists(&f.resources, c.Resources)
	lists(&f.namespaces, c.Namespaces)
	lists(&f.denied, c.Denied)
	c.overSingle(&f)
	return f, nil
}

// lay replaces a value, if there is one.
func lay[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (c *configFile) overSingle(f *flags) {
	lay(&f.apiserver, c.APIServer)
	lay(&f.kubeconfig, c.Kubeconfig)
	lay(&f.host, c.Host)
	lay(&f.telemetryHost, c.TelemetryHost)
	if c.Port != nil {
		f.port = strconv.Itoa(*c.Port)
	}
	if c.TelemetryPort != nil {
		f.telemetry = strconv.Itoa(*c.TelemetryPort)
	}
	lay(&f.tlsConfig, c.TLSConfig)
	lay(&f.node, c.Node)
	lay(&f.pod, c.Pod)
	lay(&f.podNamespace, c.PodNamespace)
	lay(&f.shard, c.Shard)
	lay(&f.totalShards, c.TotalShards)
	lay(&f.unscheduled, c.Unscheduled)
	lay(&f.cached, c.Cached)
	lay(&f.objectLimit, c.ObjectLimit)
	lay(&f.authFilter, c.AuthFilter)
	lay(&f.gzip, c.Gzip)
	lay(&f.memLimit, c.MemLimit)
	lay(&f.memRatio, c.MemRatio)
	lay(&f.customOnly, c.CustomOnly)
	lay(&f.sparse, c.Sparse)
	lay(&f.byObject, c.ByObject)
	lay(&f.workloads, c.Workloads)
	lay(&f.counterSeries, c.CounterSeries)
	lay(&f.exits, c.Exits)
	lay(&f.budgetFamily, c.BudgetFamily)
	lay(&f.budgetNamespace, c.BudgetSpace)
	lay(&f.custom, c.Custom)
	lay(&f.customFile, c.CustomFileOld)
	lay(&f.customFile, c.CustomFile)
	lay((*duration)(&f.readTimeout), c.ReadTimeout)
}
