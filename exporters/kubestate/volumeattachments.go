package kubestate

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// volumeAttachments is the kind VolumeAttachment.
func volumeAttachments() kind {
	type V = *storagev1.VolumeAttachment
	return &Resource[V]{
		Group: "storage.k8s.io", Version: "v1", Plural: "volumeattachments", ClusterScoped: true,
		Scheme: storagev1.AddToScheme,
		List:   func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
		Labels: []string{"volumeattachment"},
		Key:    byName[V],
		Families: []Family[V]{
			{
				Name: "kube_volumeattachment_labels", Help: "Labels of the object: all of them, no flag chooses.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(v V, l *Lines) { l.Map("label", v.Labels) },
			},
			created[V]("kube_volumeattachment_created", metric.Alpha),
			alpha(info("kube_volumeattachment_info", "Who attaches a volume, and to which node.", []string{"attacher", "node"},
				func(v V) []string { return []string{v.Spec.Attacher, v.Spec.NodeName} })),
			{
				Name: "kube_volumeattachment_spec_source_persistentvolume", Help: "The volume to attach, when it is a persistent one.",
				Type: metric.Gauge, Stability: metric.Alpha, Labels: []string{"volumename"},
				Render: func(v V, l *Lines) {
					if name := v.Spec.Source.PersistentVolumeName; name != nil {
						l.Add(1, *name)
					}
				},
			},
			{
				Name: "kube_volumeattachment_status_attached", Help: "Whether the volume is attached.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(v V, l *Lines) { l.Bool(v.Status.Attached) },
			},
			{
				Name: "kube_volumeattachment_status_attachment_metadata", Help: "What the attacher said, as labels.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(v V, l *Lines) { l.Map("metadata", v.Status.AttachmentMetadata) },
			},
		},
	}
}
