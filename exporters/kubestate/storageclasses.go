package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// storageClasses is the kind StorageClass.
func storageClasses() kind {
	type S = *storagev1.StorageClass
	return &Resource[S]{
		Group: "storage.k8s.io", Version: "v1", Plural: "storageclasses", ClusterScoped: true,
		Scheme: storagev1.AddToScheme,
		List:   func() runtime.Object { return &storagev1.StorageClassList{} },
		Labels: []string{"storageclass"},
		Key:    byName[S],
		Families: []Family[S]{
			annotationsOf[S]("kube_storageclass_annotations"),
			labelsOf[S]("kube_storageclass_labels"),
			created[S]("kube_storageclass_created", metric.Stable),
			info("kube_storageclass_info", "Who makes volumes of the class, and how; with Kubernetes' defaults where nothing is said.",
				[]string{"provisioner", "reclaim_policy", "volume_binding_mode"},
				func(s S) []string {
					reclaim, binding := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate
					if s.ReclaimPolicy != nil {
						reclaim = *s.ReclaimPolicy
					}
					if s.VolumeBindingMode != nil {
						binding = *s.VolumeBindingMode
					}
					return []string{s.Provisioner, string(reclaim), string(binding)}
				}),
		},
	}
}
