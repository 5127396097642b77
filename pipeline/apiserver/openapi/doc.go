// Package openapi holds the generated OpenAPI definitions of metrics.k8s.io
// (v1 and v1beta1) and of the general types that they and discovery use.
package openapi

//go:generate go tool openapi-gen --output-dir . --output-pkg github.com/strata-metrics/strata/pipeline/apiserver/openapi --output-file zz_generated.openapi.go --go-header-file /dev/null --report-filename /dev/null k8s.io/metrics/pkg/apis/metrics/v1 k8s.io/metrics/pkg/apis/metrics/v1beta1 k8s.io/apimachinery/pkg/api/resource k8s.io/apimachinery/pkg/apis/meta/v1 k8s.io/apimachinery/pkg/runtime k8s.io/apimachinery/pkg/version
