// Package dashboards holds the Grafana dashboards and the recording rules and
// alerts of Strata's layers, as files of this repository and embedded in the
// binary: the page renders them, the server evaluates them, Grafana and any
// Prometheus-compatible engine load the same files.
//
// The dashboards ask for nothing but what Strata's exporters declare, what the
// rules beside them record, and what the pipeline says of itself; the tests of
// this package hold that. They work on a cluster and, as far as a layer exists
// there, on one host that `strata up` measures.
package dashboards

import (
	"embed"
	"io/fs"
)

//go:embed grafana/*.json rules/*.yaml
var files embed.FS

// Grafana gives the dashboards: files *.json at the root, each in Grafana's
// JSON model of dashboards.
func Grafana() fs.FS { return sub("grafana") }

// Rules gives the recording rules and alerts: files *.yaml at the root, each a
// rule file as Prometheus reads it.
func Rules() fs.FS { return sub("rules") }

func sub(dir string) fs.FS {
	s, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is a literal of this file
	}
	return s
}
