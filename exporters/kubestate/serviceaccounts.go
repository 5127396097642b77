package kubestate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// serviceAccounts is the kind ServiceAccount.
func serviceAccounts() kind {
	type A = *corev1.ServiceAccount
	return &Resource[A]{
		Version: "v1", Plural: "serviceaccounts", OptIn: true,
		Scheme: corev1.AddToScheme,
		List:   func() runtime.Object { return &corev1.ServiceAccountList{} },
		Labels: []string{"namespace", "serviceaccount", "uid"},
		Key:    func(a A) []string { return []string{a.Namespace, a.Name, string(a.UID)} },
		Families: []Family[A]{
			annotationsOf[A]("kube_serviceaccount_annotations"),
			alpha(labelsOf[A]("kube_serviceaccount_labels")),
			created[A]("kube_serviceaccount_created", metric.Alpha),
			deletion[A]("kube_serviceaccount_deleted"),
			alpha(info("kube_serviceaccount_info", "Whether pods get a token of the account; empty when nothing is said.", []string{"automount_token"},
				func(a A) []string { return []string{yesOrNo(a.AutomountServiceAccountToken)} })),
			alpha(each("kube_serviceaccount_secret", "Secrets that pods of the account may use.", "name",
				func(a A) []string {
					var names []string
					for _, s := range a.Secrets {
						names = append(names, s.Name)
					}
					return names
				})),
			alpha(each("kube_serviceaccount_image_pull_secret", "Secrets that images are fetched with.", "name",
				func(a A) []string {
					var names []string
					for _, s := range a.ImagePullSecrets {
						names = append(names, s.Name)
					}
					return names
				})),
		},
	}
}
