package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strata-metrics/strata/test/e2e/cluster"
	"github.com/strata-metrics/strata/test/e2e/load"
	"github.com/strata-metrics/strata/test/e2e/story"
)

// team gives one person the ClusterRole edit in a namespace and another view.
const team = `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editors}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
`

// The rules of the test, each with what else its spec says.
func metricRule(name, metric, spec string) string {
	return fmt.Sprintf("---\napiVersion: strata-metrics.github.io/v1alpha1\nkind: MetricRule\nmetadata: {name: %s}\nspec: {metric: %s, %s}\n", name, metric, spec)
}

const (
	perPod = `query: "sum by (pod) (demo_orders_total)"`
	inAll  = `type: External, query: "sum(demo_orders_total)"`
)

// ruleState is of a MetricRule what is looked at here.
type ruleState struct {
	Metadata struct {
		Name       string
		Generation int64
	}
	Status struct {
		ObservedGeneration int64
		Value, Error       string
		Count              int
		LastSampleTime     *time.Time
		Conditions         []metav1.Condition
	}
}

// TestMetricRule holds that a team publishes metrics of its namespace with the
// rights that a person has there, that each rule's status says what it gives or
// what is wrong with it, and that a wrong one takes none of the others away.
func TestMetricRule(t *testing.T) {
	strata(t)
	ctx, ns := t.Context(), namespace(t)
	server, err := story.Pod(ctx, shared.cluster, "server")
	require.NoError(t, err)
	require.NoError(t, shared.cluster.Apply(ctx, ns, story.Shop()+"---"+team))
	pod := pods(t, ns, map[string]string{"app": "shop"}, 1)[0]
	for range 3 {
		_, err := get(ctx, load.URL(pod.Status.PodIP, story.ProxyPort, "/"))
		require.NoError(t, err)
	}
	apply := func(user, namespace, manifest string) error {
		_, err := shared.cluster.Run(ctx, manifest, "kubectl", "apply", "--as", user, "--namespace", namespace, "--filename", "-")
		return err
	}
	require.ErrorContains(t, apply("bob", ns, metricRule("orders", "shop_orders", perPod)), "forbidden")
	require.ErrorContains(t, apply("ann", "default", metricRule("orders", "shop_orders", perPod)), "forbidden")
	require.ErrorContains(t, apply("ann", ns, metricRule("orders", `"shop/orders"`, perPod)), "an HPA cannot ask for a name with / or %")
	require.NoError(t, apply("ann", ns, metricRule("broken", "shop_broken", `query: "sum by (pod) (demo_orders_total"`)+
		metricRule("orders", "shop_orders", perPod+", maxAge: 1m")+
		metricRule("all", "shop_orders_all", inAll)+
		metricRule("tried", "shop_tried", perPod+", dryRun: true")+
		// Of two that are equally old the first by name is served.
		metricRule("second", "shop_orders", perPod)+
		metricRule("silent", "shop_silent", `query: "sum by (pod) (absent_total)"`)))

	custom := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + ns + "/pods/*/"
	external := "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + ns + "/"
	for _, path := range []string{custom + "shop_orders", external + "shop_orders_all"} {
		cluster.Eventually(t, time.Minute, func() error { return gives(t, path, `"value":"3"`) })
	}
	for name, want := range map[string]string{
		"broken": "Invalid: spec.query: ",
		"orders": `Served: "shop_orders" of pods is served`,
		"all":    `Served: external "shop_orders_all" is served`,
		"tried":  `DryRun: "shop_tried" has values and is not served`,
		"second": `Shadowed: the MetricRule orders of this namespace has the same metric and is older`,
		"silent": `NoData: no series of the last minutes matches absent_total`,
	} {
		s := ruleSays(t, ns, name, want)
		switch {
		case want[0] == 'S' && name != "second", name == "tried":
			require.Equal(t, "3", s.Status.Value, name)
			require.Equal(t, 1, s.Status.Count, name)
			require.NotNil(t, s.Status.LastSampleTime, name)
			require.WithinRange(t, *s.Status.LastSampleTime, time.Now().Add(-2*time.Minute), time.Now(), name)
		default:
			require.Empty(t, s.Status.Value, name)
		}
		require.Equal(t, name == "broken", s.Status.Error != "", "%s: %s", name, s.Status.Error)
	}
	// What bob, who may only look, sees of it.
	out, err := shared.cluster.Kubectl(ctx, "get", "metricrules", "--as", "bob", "--namespace", ns)
	require.NoError(t, err)
	t.Log("\n" + out)
	require.Regexp(t, `(?m)^orders +shop_orders +Custom +True +Served +3 +\d+m?\d*s +`, out)
	require.Regexp(t, `(?m)^broken +shop_broken +Custom +False +Invalid +`, out)

	require.ErrorContains(t, gives(t, custom+"shop_tried", ""), "not find")
	require.ErrorContains(t, gives(t, strings.ReplaceAll(external, ns, "default")+"shop_orders_all", ""), "not find")
	require.NoError(t, apply("ann", ns, metricRule("tried", "shop_tried", perPod)))
	cluster.Eventually(t, time.Minute, func() error { return gives(t, custom+"shop_tried", `"value":"3"`) })
	_, err = shared.cluster.Kubectl(ctx, "delete", "metricrule", "orders", "second", "--as", "ann", "--namespace", ns)
	require.NoError(t, err)
	cluster.Eventually(t, time.Minute, func() error {
		if err := gives(t, custom+"shop_orders", ""); err == nil || !strings.Contains(err.Error(), "not find") {
			return fmt.Errorf("the metric of a deleted rule answers: %w", err)
		}
		return nil
	})
	require.NoError(t, gives(t, external+"shop_orders_all", `"value":"3"`))
	now, err := story.Pod(ctx, shared.cluster, "server")
	require.NoError(t, err)
	require.Equal(t, server.UID, now.UID)
	require.Equal(t, restarts(&server), restarts(&now), "all of it without a restart")
}

// gives holds that a path of an API answers the HPA with a text in it.
func gives(t *testing.T, path, want string) error {
	out, err := shared.cluster.Kubectl(t.Context(), "get", "--raw", path, "--as", "system:serviceaccount:kube-system:horizontal-pod-autoscaler")
	if err == nil && !strings.Contains(out, want) {
		err = fmt.Errorf("%s answered %s, without %s", path, out, want)
	}
	return err
}

// ruleSays waits until the status of a MetricRule is about its present spec,
// with a reason and message of the condition Ready that begin so.
func ruleSays(t *testing.T, ns, name, want string) ruleState {
	t.Helper()
	var s ruleState
	cluster.Eventually(t, time.Minute, func() error {
		out, err := shared.cluster.Kubectl(t.Context(), "get", "metricrule", name, "--namespace", ns, "--output", "json")
		if err != nil {
			return err
		}
		s = ruleState{}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err
		}
		if s.Status.ObservedGeneration != s.Metadata.Generation || len(s.Status.Conditions) != 1 {
			return fmt.Errorf("%s has no status yet", name)
		}
		ready := s.Status.Conditions[0]
		if says := ready.Reason + ": " + ready.Message; !strings.HasPrefix(says, want) {
			return fmt.Errorf("%s says %q, not %q", name, says, want)
		}
		if served := ready.Reason == "Served"; (ready.Status == metav1.ConditionTrue) != served {
			return fmt.Errorf("%s is %s with the reason %s", name, ready.Status, ready.Reason)
		}
		return nil
	})
	return s
}
