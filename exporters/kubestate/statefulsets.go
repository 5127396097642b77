package kubestate

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// statefulSets is the kind StatefulSet.
func statefulSets() kind {
	type S = *appsv1.StatefulSet
	return &Resource[S]{
		Group: "apps", Version: "v1", Plural: "statefulsets",
		Scheme: appsv1.AddToScheme,
		List:   func() runtime.Object { return &appsv1.StatefulSetList{} },
		Labels: []string{"namespace", "statefulset"},
		Key:    inNamespace[S],
		Families: []Family[S]{
			stable(annotationsOf[S]("kube_statefulset_annotations")),
			labelsOf[S]("kube_statefulset_labels"),
			created[S]("kube_statefulset_created", metric.Stable),
			stable(deletion[S]("kube_statefulset_deletion_timestamp")),
			generation[S]("kube_statefulset_metadata_generation"),
			optional("kube_statefulset_replicas", "Pods that are wanted.", metric.Stable,
				func(s S) *int32 { return s.Spec.Replicas }),
			optional("kube_statefulset_ordinals_start", "Number of the first pod.", metric.Stable,
				func(s S) *int32 {
					if s.Spec.Ordinals == nil {
						return nil
					}
					return &s.Spec.Ordinals.Start
				}),
			{
				Name: "kube_statefulset_persistentvolumeclaim_retention_policy", Help: "What becomes of the volume claims of pods that go.", Type: metric.Gauge,
				Labels: []string{"when_deleted", "when_scaled"},
				Render: func(s S, l *Lines) {
					if p := s.Spec.PersistentVolumeClaimRetentionPolicy; p != nil && (p.WhenDeleted != "" || p.WhenScaled != "") {
						l.Add(1, string(p.WhenDeleted), string(p.WhenScaled))
					}
				},
			},
			number("kube_statefulset_status_replicas", "Pods that there are.",
				func(s S) float64 { return float64(s.Status.Replicas) }),
			number("kube_statefulset_status_replicas_available", "Pods that have been ready for long enough.",
				func(s S) float64 { return float64(s.Status.AvailableReplicas) }),
			number("kube_statefulset_status_replicas_current", "Pods that are of the current revision.",
				func(s S) float64 { return float64(s.Status.CurrentReplicas) }),
			number("kube_statefulset_status_replicas_ready", "Pods that are ready.",
				func(s S) float64 { return float64(s.Status.ReadyReplicas) }),
			number("kube_statefulset_status_replicas_updated", "Pods that are of the revision that is rolled out.",
				func(s S) float64 { return float64(s.Status.UpdatedReplicas) }),
			number("kube_statefulset_status_observed_generation", "Number of the wanted state that the controller has seen.",
				func(s S) float64 { return float64(s.Status.ObservedGeneration) }),
			info("kube_statefulset_status_current_revision", "Revision that pods had before the one that is rolled out.", []string{"revision"},
				func(s S) []string { return []string{s.Status.CurrentRevision} }),
			info("kube_statefulset_status_update_revision", "Revision that is rolled out.", []string{"revision"},
				func(s S) []string { return []string{s.Status.UpdateRevision} }),
		},
	}
}
