package kubestate

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// certificateSigningRequests is the kind CertificateSigningRequest.
func certificateSigningRequests() kind {
	type C = *certificatesv1.CertificateSigningRequest
	return &Resource[C]{
		Group: "certificates.k8s.io", Version: "v1", Plural: "certificatesigningrequests", ClusterScoped: true,
		Scheme: certificatesv1.AddToScheme,
		List:   func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		Labels: []string{"certificatesigningrequest", "signer_name"},
		Key:    func(c C) []string { return []string{c.Name, c.Spec.SignerName} },
		Families: []Family[C]{
			annotationsOf[C]("kube_certificatesigningrequest_annotations"),
			labelsOf[C]("kube_certificatesigningrequest_labels"),
			created[C]("kube_certificatesigningrequest_created", metric.Stable),
			{
				Name: "kube_certificatesigningrequest_condition", Help: "How many conditions of each sort the request has.", Type: metric.Gauge,
				Labels: []string{"condition"},
				Render: requestConditions,
			},
			number("kube_certificatesigningrequest_cert_length", "Length of the certificate that was issued, 0 before.",
				func(c C) float64 { return float64(len(c.Status.Certificate)) }),
		},
	}
}

func requestConditions(r *certificatesv1.CertificateSigningRequest, l *Lines) {
	counts := make(map[certificatesv1.RequestConditionType]int)
	for _, c := range r.Status.Conditions {
		counts[c.Type]++
	}
	l.Add(float64(counts[certificatesv1.CertificateApproved]), "approved")
	l.Add(float64(counts[certificatesv1.CertificateDenied]), "denied")
	l.Add(float64(counts[certificatesv1.CertificateFailed]), "failed")
}
