package kubestate

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// leases is the kind Lease.
func leases() kind {
	type E = *coordinationv1.Lease
	return &Resource[E]{
		Group: "coordination.k8s.io", Version: "v1", Plural: "leases",
		Scheme: coordinationv1.AddToScheme,
		List:   func() runtime.Object { return &coordinationv1.LeaseList{} },
		Labels: []string{"namespace", "lease"},
		Key:    inNamespace[E],
		Families: []Family[E]{
			{
				Name: "kube_lease_owner", Help: "Objects that own the lease, and who holds it.", Type: metric.Gauge, Stability: metric.Alpha,
				Labels: []string{"owner_kind", "owner_name", "lease_holder"},
				Render: leaseOwners,
			},
			{
				Name: "kube_lease_renew_time", Help: "Time at which the holder was last there, in seconds since 1970.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(e E, l *Lines) {
					if !e.Spec.RenewTime.IsZero() {
						l.Add(float64(e.Spec.RenewTime.Unix()))
					}
				},
			},
		},
	}
}

func leaseOwners(e *coordinationv1.Lease, l *Lines) {
	holder := orEmpty(e.Spec.HolderIdentity)
	if len(e.OwnerReferences) == 0 {
		l.Add(1, "", "", holder)
	}
	for _, ref := range e.OwnerReferences {
		l.Add(1, ref.Kind, ref.Name, holder)
	}
}
