package kubestate

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// persistentVolumes is the kind PersistentVolume.
func persistentVolumes() kind {
	type V = *corev1.PersistentVolume
	return &Resource[V]{
		Version: "v1", Plural: "persistentvolumes", ClusterScoped: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.PersistentVolumeList{} },
		Labels: []string{"persistentvolume"},
		Key:    byName[V],
		Families: []Family[V]{
			annotationsOf[V]("kube_persistentvolume_annotations"),
			labelsOf[V]("kube_persistentvolume_labels"),
			created[V]("kube_persistentvolume_created", metric.Alpha),
			deletion[V]("kube_persistentvolume_deletion_timestamp"),
			info("kube_persistentvolume_info", "Where the volume is; labels of other sorts of volumes are empty.",
				append([]string{"storageclass", "reclaim_policy"}, sourceLabels()...),
				func(v V) []string {
					own := []string{v.Spec.StorageClassName, string(v.Spec.PersistentVolumeReclaimPolicy)}
					return append(own, sourceOf(&v.Spec.PersistentVolumeSource)...)
				}),
			{
				Name: "kube_persistentvolume_claim_ref", Help: "Claim that the volume is for.", Type: metric.Gauge,
				Labels: []string{"name", "claim_namespace"},
				Render: func(v V, l *Lines) {
					if ref := v.Spec.ClaimRef; ref != nil {
						l.Add(1, ref.Name, ref.Namespace)
					}
				},
			},
			number("kube_persistentvolume_capacity_bytes", "Size of the volume, in bytes.",
				func(v V) float64 { return wholeQuantity(v.Spec.Capacity[corev1.ResourceStorage]) }),
			alpha(info("kube_persistentvolume_volume_mode", "Whether the volume is a file system or a device.", []string{"volumemode"},
				func(v V) []string {
					if v.Spec.VolumeMode == nil {
						return []string{string(corev1.PersistentVolumeFilesystem)}
					}
					return []string{string(*v.Spec.VolumeMode)}
				})),
			alpha(each("kube_persistentvolume_access_mode", "Ways in which the volume can be mounted.", "access_mode",
				func(v V) []string { return accessModes(v.Spec.AccessModes) })),
			phases("kube_persistentvolume_status_phase", "Whether the volume is taken.",
				func(v V) string { return string(v.Status.Phase) },
				string(corev1.VolumePending), string(corev1.VolumeAvailable), string(corev1.VolumeBound), string(corev1.VolumeReleased), string(corev1.VolumeFailed)),
			{
				Name: "kube_persistentvolume_csi_attributes", Help: "How the CSI driver mounts the volume.", Type: metric.Gauge, Stability: metric.Alpha, OptIn: true,
				Labels: []string{"csi_mounter", "csi_map_options"},
				Render: func(v V, l *Lines) {
					if v.Spec.CSI != nil {
						l.Add(1, v.Spec.CSI.VolumeAttributes["mounter"], v.Spec.CSI.VolumeAttributes["mapOptions"])
					}
				},
			},
		},
	}
}

// sourceLabels are the labels that sourceOf gives the values of.
func sourceLabels() []string {
	return []string{
		"gce_persistent_disk_name", "ebs_volume_id", "azure_disk_name",
		"fc_wwids", "fc_lun", "fc_target_wwns",
		"iscsi_target_portal", "iscsi_iqn", "iscsi_lun", "iscsi_initiator_name",
		"nfs_server", "nfs_path", "csi_driver", "csi_volume_handle",
		"local_path", "local_fs", "host_path", "host_path_type",
	}
}

// sourceOf says where a volume is. It is of one sort only; should it have
// several, the first counts.
func sourceOf(s *corev1.PersistentVolumeSource) []string {
	var gce, ebs, azure, wwids, lun, wwns, portal, iqn, iscsiLUN, initiator string
	var nfsServer, nfsPath, driver, handle, localPath, localFS, hostPath, hostPathType string
	switch {
	case s.GCEPersistentDisk != nil:
		gce = s.GCEPersistentDisk.PDName
	case s.AWSElasticBlockStore != nil:
		ebs = s.AWSElasticBlockStore.VolumeID
	case s.AzureDisk != nil:
		azure = s.AzureDisk.DiskName
	case s.FC != nil:
		if s.FC.Lun != nil {
			lun = strconv.Itoa(int(*s.FC.Lun))
		}
		wwids, wwns = strings.Join(s.FC.WWIDs, ","), strings.Join(s.FC.TargetWWNs, ",")
	case s.ISCSI != nil:
		portal, iqn, iscsiLUN, initiator = s.ISCSI.TargetPortal, s.ISCSI.IQN, strconv.Itoa(int(s.ISCSI.Lun)), orEmpty(s.ISCSI.InitiatorName)
	case s.NFS != nil:
		nfsServer, nfsPath = s.NFS.Server, s.NFS.Path
	case s.CSI != nil:
		driver, handle = s.CSI.Driver, s.CSI.VolumeHandle
	case s.Local != nil:
		localPath, localFS = s.Local.Path, orEmpty(s.Local.FSType)
	case s.HostPath != nil:
		hostPath, hostPathType = s.HostPath.Path, orEmpty(s.HostPath.Type)
	}
	return []string{
		gce, ebs, azure, wwids, lun, wwns, portal, iqn, iscsiLUN, initiator,
		nfsServer, nfsPath, driver, handle, localPath, localFS, hostPath, hostPathType,
	}
}
