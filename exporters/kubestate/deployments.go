package kubestate

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strata-metrics/strata/internal/metric"
)

// deployments is the kind Deployment.
func deployments() kind {
	type D = *appsv1.Deployment
	return &Resource[D]{
		Group: "apps", Version: "v1", Plural: "deployments",
		Scheme: appsv1.AddToScheme,
		List:   func() runtime.Object { return &appsv1.DeploymentList{} },
		Labels: []string{"namespace", "deployment"},
		Key:    inNamespace[D],
		Families: []Family[D]{
			annotationsOf[D]("kube_deployment_annotations"),
			labelsOf[D]("kube_deployment_labels"),
			created[D]("kube_deployment_created", metric.Stable),
			deletion[D]("kube_deployment_deletion_timestamp"),
			{
				Name: "kube_deployment_owner", Help: "Objects that own this one.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"owner_kind", "owner_name"},
				Render: deploymentOwners,
			},
			generation[D]("kube_deployment_metadata_generation"),
			optional("kube_deployment_spec_replicas", "Pods that are wanted.", metric.Stable,
				func(d D) *int32 { return d.Spec.Replicas }),
			{
				Name: "kube_deployment_spec_paused", Help: "Whether changes of the deployment wait.", Type: metric.Gauge,
				Render: func(d D, l *Lines) { l.Bool(d.Spec.Paused) },
			},
			rollingUpdate("kube_deployment_spec_strategy_rollingupdate_max_unavailable", "Pods that may be missing while an update rolls out.",
				func(r *appsv1.RollingUpdateDeployment) *intstr.IntOrString { return r.MaxUnavailable }, false),
			rollingUpdate("kube_deployment_spec_strategy_rollingupdate_max_surge", "Pods that may be there above those wanted while an update rolls out.",
				func(r *appsv1.RollingUpdateDeployment) *intstr.IntOrString { return r.MaxSurge }, true),
			number("kube_deployment_status_replicas", "Pods that there are.",
				func(d D) float64 { return float64(d.Status.Replicas) }),
			number("kube_deployment_status_replicas_ready", "Pods that are ready.",
				func(d D) float64 { return float64(d.Status.ReadyReplicas) }),
			number("kube_deployment_status_replicas_available", "Pods that have been ready for long enough.",
				func(d D) float64 { return float64(d.Status.AvailableReplicas) }),
			number("kube_deployment_status_replicas_unavailable", "Pods that are still missing for all to be available.",
				func(d D) float64 { return float64(d.Status.UnavailableReplicas) }),
			number("kube_deployment_status_replicas_updated", "Pods that are of the newest template.",
				func(d D) float64 { return float64(d.Status.UpdatedReplicas) }),
			optional("kube_deployment_status_terminating_replicas", "Pods that are about to end.", metric.Alpha,
				func(d D) *int32 { return d.Status.TerminatingReplicas }),
			number("kube_deployment_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(d D) float64 { return float64(d.Status.ObservedGeneration) }),
			{
				Name: "kube_deployment_status_condition", Help: "Conditions of the deployment; a reason that is not Kubernetes' own is unknown.", Type: metric.Gauge,
				Labels: []string{"reason", "condition", "status"},
				Render: deploymentConditions,
			},
		},
	}
}

// deploymentOwners differs from owners in that no label says which controls.
func deploymentOwners(d *appsv1.Deployment, l *Lines) {
	if len(d.OwnerReferences) == 0 {
		l.Add(1, "", "")
	}
	for _, ref := range d.OwnerReferences {
		l.Add(1, ref.Kind, ref.Name)
	}
}

func deploymentConditions(d *appsv1.Deployment, l *Lines) {
	for _, c := range d.Status.Conditions {
		reason := c.Reason
		switch reason {
		case "", "ReplicaSetUpdated", "ReplicaSetCreateError", "NewReplicaSetCreated", "FoundNewReplicaSet", "NewReplicaSetAvailable",
			"ProgressDeadlineExceeded", "DeploymentPaused", "DeploymentResumed", "MinimumReplicasAvailable", "MinimumReplicasUnavailable":
		default:
			reason = "unknown"
		}
		l.Condition(c.Status, reason, string(c.Type))
	}
}

// rollingUpdate shows a number or percentage of the wanted pods as a number.
func rollingUpdate(name, help string, pick func(*appsv1.RollingUpdateDeployment) *intstr.IntOrString, roundUp bool) Family[*appsv1.Deployment] {
	return Family[*appsv1.Deployment]{
		Name: name, Help: help, Type: metric.Gauge,
		Render: func(d *appsv1.Deployment, l *Lines) {
			if d.Spec.Strategy.RollingUpdate == nil || d.Spec.Replicas == nil {
				return
			}
			n, err := intstr.GetScaledValueFromIntOrPercent(pick(d.Spec.Strategy.RollingUpdate), int(*d.Spec.Replicas), roundUp)
			if err == nil { // it is not there, or not a percentage
				l.Add(float64(n))
			}
		},
	}
}
