// Package externalscaler is KEDA's external scaler protocol in Go, generated
// from externalscaler.proto by make generate.
package externalscaler
