package migrate

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strata-metrics/strata/internal/serve"
)

// flagRow says what becomes of a flag of prometheus-adapter.
type flagRow struct {
	name string
	// as is the flag of strata server; "" for none.
	as string
	// verdict is Served where as is the same name and meaning.
	verdict Verdict
	note    string
	do      string
}

// AdapterFlags are the flags of strata server that those of prometheus-adapter
// are said to become, for a test that they exist.
func AdapterFlags() []string {
	var out []string
	for _, row := range adapterFlags() {
		if row.as != "" {
			out = append(out, row.as)
		}
	}
	return out
}

// adapterFlags is the table of prometheus-adapter's flags.
func adapterFlags() []flagRow {
	const (
		ownStore = "it has no meaning: the samples are in Strata's own store"
		index    = "it has no meaning: metrics are found in the store's index at each request, nothing is listed beforehand"
	)
	rows := []flagRow{
		{name: "config", as: "adapter.config", verdict: Differs, note: "it is called --adapter.config"},
		{name: "lister-kubeconfig", as: "kubeconfig", verdict: Differs, note: "it is called --kubeconfig"},
		{name: "secure-port", as: "secure-port", verdict: Served},
		{name: "prometheus-url", verdict: Differs, note: ownStore,
			do: "let Strata scrape what that Prometheus scrapes (--config.file takes its prometheus.yml), or let it write to Strata (remote_write)"},
		{name: "metrics-relist-interval", verdict: Differs, note: index},
		{name: "metrics-max-age", verdict: Differs, note: index + "; a metric counts as there for 5 minutes after its last sample"},
		{name: "discovery-interval", verdict: Differs, note: "the cluster's resources are asked for when they are needed"},
		{name: "client-qps", verdict: Differs, note: "pods are watched, and other objects remembered for seconds: none are listed at each request"},
		{name: "client-burst", verdict: Differs, note: "pods are watched, and other objects remembered for seconds: none are listed at each request"},
		{name: "log_dir", verdict: NotServed, note: "the log goes to stderr", do: "leave it out, and send stderr where it is wanted"},
		{name: "log_file", verdict: NotServed, note: "the log goes to stderr", do: "leave it out, and send stderr where it is wanted"},
		{name: "audit-log-path", verdict: NotServed, note: "strata server writes no audit log", do: "use that of the API server, through which all requests come"},
		{name: "audit-policy-file", verdict: NotServed, note: "strata server writes no audit log", do: "use that of the API server, through which all requests come"},
	}
	for _, n := range []string{"prometheus-auth-incluster", "prometheus-auth-config", "prometheus-ca-file", "prometheus-token-file",
		"prometheus-client-tls-cert-file", "prometheus-client-tls-key-file", "prometheus-header", "prometheus-verb"} {
		rows = append(rows, flagRow{name: n, verdict: Differs, note: ownStore})
	}
	for _, n := range serve.KlogIdle() {
		rows = append(rows, flagRow{name: n, as: n, verdict: Differs, note: "it is taken and has no meaning: the log goes to stderr"})
	}
	for _, n := range []string{"bind-address", "disable-http2-serving", "cert-dir", "tls-cert-file", "tls-private-key-file", "profiling",
		"tls-min-version", "tls-cipher-suites", "v", "logging-format", "requestheader-uid-headers",
		"authentication-kubeconfig", "authentication-skip-lookup", "authentication-tolerate-lookup-failure", "authentication-token-webhook-cache-ttl",
		"client-ca-file", "requestheader-client-ca-file", "requestheader-allowed-names", "requestheader-username-headers",
		"requestheader-group-headers", "requestheader-extra-headers-prefix", "authorization-kubeconfig", "authorization-always-allow-paths",
		"authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl"} {
		rows = append(rows, flagRow{name: n, as: n, verdict: Served})
	}
	return rows
}

// podFlags reads the flags of containers that run prometheus-adapter.
func (r *Report) podFlags(o *object) {
	containers := field(o.node, "spec", "template", "spec", "containers")
	if containers == nil {
		containers = field(o.node, "spec", "containers") // a Pod
	}
	if containers == nil {
		return
	}
	for _, c := range containers.Content {
		args := append(nodes(field(c, "command")), nodes(field(c, "args"))...)
		is := strings.Contains(text(field(c, "image")), "prometheus-adapter")
		for _, a := range args {
			is = is || strings.HasPrefix(a.Value, "--prometheus-url")
		}
		if is {
			r.flags(o.file, o.String(), args)
		}
	}
}

func nodes(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	return append([]*yaml.Node(nil), n.Content...)
}

// flags says what becomes of each flag of a command line.
func (r *Report) flags(file, of string, args []*yaml.Node) {
	rows := map[string]flagRow{}
	for _, row := range adapterFlags() {
		rows[row.name] = row
	}
	for _, a := range args {
		if !strings.HasPrefix(a.Value, "-") {
			continue // the program, or the value of the flag before
		}
		flag, _, _ := strings.Cut(a.Value, "=")
		name := strings.TrimLeft(flag, "-")
		item := Item{File: file, Line: a.Line, Of: of, What: flag, Verdict: NotServed}
		row, ok := rows[name]
		switch {
		case !ok:
			item.refuse("strata server has no such flag", "see strata server --help")
		default:
			item.Verdict, item.Do = row.verdict, row.do
			if row.as != "" {
				item.Gives = "--" + row.as
			}
			if row.note != "" {
				item.Notes = []string{row.note}
			}
		}
		r.Items = append(r.Items, item)
	}
}
