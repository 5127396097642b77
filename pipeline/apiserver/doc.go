// Package apiserver serves Strata's aggregated APIs, any of
//
//	metrics.k8s.io           v1 above v1beta1
//	custom.metrics.k8s.io    v1beta2 above v1beta1
//	external.metrics.k8s.io  v1beta1
//
// on one k8s.io/apiserver: delegated authentication and authorization,
// discovery (aggregated, too), OpenAPI v2 and v3, health checks and its own
// metrics. What answers comes from outside: pipeline/resource for the first,
// pipeline/adapter for the others.
//
// Certificates makes the serving certificate and puts its authority into the
// APIServices, so that the aggregation layer verifies us without cert-manager
// and without insecureSkipTLSVerify.
//
// It needs no more RBAC than system:auth-delegator and
// extension-apiserver-authentication-reader; Certificates says what it needs.
package apiserver
