package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// persistentVolumeClaims is the kind PersistentVolumeClaim.
func persistentVolumeClaims() kind {
	type C = *corev1.PersistentVolumeClaim
	return &Resource[C]{
		Version: "v1", Plural: "persistentvolumeclaims",
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		Labels: []string{"namespace", "persistentvolumeclaim"},
		Key:    inNamespace[C],
		Families: []Family[C]{
			annotationsOf[C]("kube_persistentvolumeclaim_annotations"),
			labelsOf[C]("kube_persistentvolumeclaim_labels"),
			created[C]("kube_persistentvolumeclaim_created", metric.Alpha),
			deletion[C]("kube_persistentvolumeclaim_deletion_timestamp"),
			info("kube_persistentvolumeclaim_info", "Class of the volume that is claimed, and which one it is.",
				[]string{"storageclass", "volumename", "volumemode"},
				func(c C) []string { return []string{classOfClaim(c), c.Spec.VolumeName, orEmpty(c.Spec.VolumeMode)} }),
			each("kube_persistentvolumeclaim_access_mode", "Ways in which the volume is to be mounted.", "access_mode",
				func(c C) []string { return accessModes(c.Spec.AccessModes) }),
			{
				Name: "kube_persistentvolumeclaim_resource_requests_storage_bytes", Help: "Size that is asked for, in bytes.", Type: metric.Gauge,
				Render: func(c C, l *Lines) {
					if q, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
						l.Add(wholeQuantity(q))
					}
				},
			},
			phases("kube_persistentvolumeclaim_status_phase", "Whether the claim has its volume.",
				func(c C) string { return string(c.Status.Phase) },
				string(corev1.ClaimLost), string(corev1.ClaimBound), string(corev1.ClaimPending)),
			{
				Name: "kube_persistentvolumeclaim_status_condition", Help: "Conditions of the claim.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"condition", "status"},
				Render: func(c C, l *Lines) {
					for _, condition := range c.Status.Conditions {
						l.Condition(condition.Status, string(condition.Type))
					}
				},
			},
		},
	}
}

// classOfClaim prefers the annotation that classes were named by before there
// was a field.
func classOfClaim(c *corev1.PersistentVolumeClaim) string {
	if class, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return orEmpty(c.Spec.StorageClassName)
}

func accessModes(modes []corev1.PersistentVolumeAccessMode) []string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return names
}
