// Package resource is the core pipeline: what nodes and containers use, from
// two points in memory, served as metrics.k8s.io to kubectl top, the HPA, the
// VPA and the scheduler.
//
// A Source reads /metrics/resource of one node (its kubelet's, or the container
// exporter's). The Collector asks it for every node once per resolution, each
// node at its own moment, turns the answer and the one before into that node's
// usage, and swaps it into an immutable Snapshot. Nodes and Pods answer API
// requests from the Snapshot of the moment and the cluster's objects, and never
// wait for a writer. There is no history and no disk: after a start, the second
// answer of a node is enough.
//
//	Source -> Reading -> nodeState (with the last one) -> Snapshot -> Nodes, Pods
package resource
