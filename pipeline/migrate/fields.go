package migrate

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// fieldRow says what becomes of a field of a ScaledObject when an HPA takes
// over.
type fieldRow struct {
	// path is below the object; a row holds for what is below it too, unless
	// there is a row for that.
	path    []string
	verdict Verdict
	// same tells whether with this value nothing changes; nil is never.
	same func(o *scaledObject, n *yaml.Node) bool
	// keeps says that an HPA cannot do it, so that the object stays in KEDA.
	keeps bool
	gives string
	note  string
	do    string
}

// objectFields is the table of a ScaledObject's fields. A field without a row
// is served as it is.
func objectFields() []fieldRow {
	// With cpu and memory alone nothing goes to 0.
	toOne := func(o *scaledObject, _ *yaml.Node) bool { return o.min() > 0 || !o.has(byQuery) }
	not := func(value string) func(*scaledObject, *yaml.Node) bool {
		return func(_ *scaledObject, n *yaml.Node) bool { return text(n) == value }
	}
	return []fieldRow{
		{path: []string{"spec", "pollingInterval"}, verdict: Differs, same: not("15"),
			note: "an HPA asks every 15 s, or as --horizontal-pod-autoscaler-sync-period of the controller manager says"},
		{path: []string{"spec", "cooldownPeriod"}, verdict: Differs, same: toOne, gives: "behavior.scaleDown.stabilizationWindowSeconds",
			note: "it delays every step down and not the one to 0 alone; 3600 s is the longest"},
		{path: []string{"spec", "initialCooldownPeriod"}, verdict: Differs, same: toOne,
			note: "an HPA has no delay of its own after it was made; its stabilization window begins with its first reading"},
		{path: []string{"spec", "idleReplicaCount"}, verdict: NotServed, keeps: true,
			note: "an HPA has no number of replicas for idle times below its minReplicas"},
		{path: []string{"spec", "minReplicaCount"}, verdict: Differs, same: toOne, gives: "minReplicas: 0",
			note: "an HPA goes to 0 and back with External and Object metrics only, where HPAScaleToZero is on: by default from Kubernetes 1.37, before it a feature gate of API server and controller manager"},
		{path: []string{"spec", "fallback"}, verdict: NotServed, keeps: true,
			note: "an HPA keeps the replicas that it has while a metric fails; it falls back to no number"},
		{path: []string{"spec", "advanced", "restoreToOriginalReplicaCount"}, verdict: Differs, same: not("false"),
			note: "who deletes an HPA keeps the replicas of that moment"},
		{path: []string{"spec", "advanced", "horizontalPodAutoscalerConfig", "name"}, verdict: Differs,
			note: "the HPA is called as the ScaledObject, since KEDA deletes the one that it made"},
		{path: []string{"spec", "advanced", "scalingModifiers"}, verdict: NotServed, keeps: true,
			note: "an HPA has no formula over its metrics: it takes the one that asks for most replicas"},
		{path: []string{"metadata", "annotations", "autoscaling.keda.sh/paused"}, verdict: NotServed, same: not("false"),
			note: "an HPA cannot be paused", do: "set minReplicas and maxReplicas to the same number, or wait with the HPA"},
		{path: []string{"metadata", "annotations", "autoscaling.keda.sh/paused-replicas"}, verdict: NotServed,
			note: "an HPA cannot be paused", do: "set minReplicas and maxReplicas to the same number, or wait with the HPA"},
		{path: []string{"metadata", "annotations", "autoscaling.keda.sh/paused-scale-down"}, verdict: Differs, same: not("false"),
			note: "write behavior.scaleDown.selectPolicy: Disabled"},
	}
}

// prometheusField says what becomes of the metadata of a prometheus trigger
// that is not about the query itself.
type prometheusField struct {
	name string
	// same is a value with which nothing changes.
	same string
	note string
}

// prometheusFields is the table of a prometheus trigger's metadata. query,
// threshold, activationThreshold, ignoreNullValues and serverAddress are judged
// in code or hold for all.
func prometheusFields() []prometheusField {
	const own = "is not used: Strata asks its own store"
	return []prometheusField{
		{name: "namespace", note: "is not used: write a matcher namespace=\"...\" into the query"},
		{name: "queryParameters", note: own},
		{name: "customHeaders", note: own + ", and knows no tenants"},
		{name: "cortexOrgID", note: own + ", and knows no tenants"},
		{name: "authModes", note: own},
		{name: "unsafeSsl", same: "false", note: own},
		{name: "timeout", note: own + " (--query.timeout)"},
		{name: "awsRegion", note: own},
		{name: "identityOwner", note: own},
	}
}

// node is what an object has there, nil for nothing.
func (row *fieldRow) node(o *scaledObject) *yaml.Node { return field(o.node, row.path...) }

// name is the path as people write it.
func (row *fieldRow) name() string {
	out := row.path[0]
	for _, p := range row.path[1:] {
		if row.path[0] == "metadata" && p == row.path[len(row.path)-1] {
			return out + "[" + strconv.Quote(p) + "]"
		}
		out += "." + p
	}
	return out
}
