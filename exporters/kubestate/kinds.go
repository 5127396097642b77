package kubestate

// kinds lists every kind that can be followed, in the order in which a body
// has them. A new kind is a file that makes a Resource, and a line here.
func kinds() []kind {
	return []kind{
		certificateSigningRequests(),
		clusterRoleBindings(),
		clusterRoles(),
		configMaps(),
		cronJobs(),
		daemonSets(),
		deployments(),
		endpoints(),
		endpointSlices(),
		events(),
		horizontalPodAutoscalers(),
		ingressClasses(),
		ingresses(),
		jobs(),
		leases(),
		limitRanges(),
		mutatingAdmissionPolicies(),
		mutatingAdmissionPolicyBindings(),
		mutatingWebhookConfigurations(),
		namespaces(),
		networkPolicies(),
		nodes(),
		persistentVolumeClaims(),
		persistentVolumes(),
		podDisruptionBudgets(),
		pods(),
		replicaSets(),
		replicationControllers(),
		resourceQuotas(),
		roleBindings(),
		roles(),
		secrets(),
		serviceAccounts(),
		services(),
		statefulSets(),
		storageClasses(),
		validatingAdmissionPolicies(),
		validatingAdmissionPolicyBindings(),
		validatingWebhookConfigurations(),
		volumeAttachments(),
	}
}

// inNamespace is the Key of kinds whose series start with the namespace and
// the name of the object.
func inNamespace[T Object](o T) []string { return []string{o.GetNamespace(), o.GetName()} }

// byName is the Key of kinds whose series start with the name alone.
func byName[T Object](o T) []string { return []string{o.GetName()} }
