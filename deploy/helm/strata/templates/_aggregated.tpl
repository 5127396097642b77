{{- /*
What a component needs to serve APIs behind the aggregation layer:
(list $ "core" SERVICE APISERVICES), as (list $ "core" "core" (list "v1.metrics.k8s.io")).
*/}}
{{- define "strata.aggregated" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $name := printf "%s-%s" (include "strata.name" $root) $component -}}
{{- $service := printf "%s-%s" (include "strata.name" $root) (index . 2) -}}
{{- $labels := include "strata.labels" (list $root $component) -}}
{{- $namespace := $root.Release.Namespace -}}
# Ask the API server who a caller is and what that one may do.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}-auth-delegator
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $namespace }}}
---
# Read the authorities of clients and of the aggregation layer: one ConfigMap.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}-auth-reader
  namespace: kube-system
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $namespace }}}
---
# The certificate that all replicas serve with. Strata fills it.
apiVersion: v1
kind: Secret
metadata:
  name: {{ $name }}-serving
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
type: Opaque
---
# The one Secret that Strata reads.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [{{ $name }}-serving]
    verbs: [get, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $namespace }}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $service }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  selector: {{- include "strata.selector" (list $root $component) | nindent 4 }}
  ports:
    - {name: https, port: 443, targetPort: https}
{{- range index . 3 }}
{{- $version := . | splitList "." | first }}
{{- include "strata.unclaimed" (list $root .) }}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ . }}
  labels: {{- $labels | nindent 4 }}
spec:
  group: {{ . | trimPrefix (printf "%s." $version) }}
  version: {{ $version }}
  groupPriorityMinimum: 100
  versionPriority: {{ get (dict "v1" 300 "v1beta2" 200 "v1beta1" 100) $version }}
  service: {name: {{ $service }}, namespace: {{ $namespace }}, port: 443}
  # caBundle is put in by Strata, with the certificate that it made.
{{- end }}
{{- end }}

{{- /* Refuses to take an API from another: (list $ "v1beta1.metrics.k8s.io").
Without a cluster (helm template) lookup finds nothing. */}}
{{- define "strata.unclaimed" -}}
{{- $release := (index . 0).Release -}}
{{- $name := index . 1 -}}
{{- $way := ternary "--set core.enabled=false" "--set server.adapter.enabled=false (or without it in server.adapter.apiServices)" (regexMatch "^v[^.]+\\.metrics\\.k8s\\.io$" $name) -}}
{{- with lookup "apiregistration.k8s.io/v1" "APIService" "" $name }}
{{- $owner := .metadata.annotations | default dict }}
{{- $ours := and (eq (get $owner "meta.helm.sh/release-name") $release.Name) (eq (get $owner "meta.helm.sh/release-namespace") $release.Namespace) }}
{{- $service := .spec.service | default dict }}
{{- if and $service (not $ours) }}
{{- fail (printf "this cluster's %s is served by %s/%s already: remove that one first, or install with %s" $name $service.namespace $service.name $way) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The flags about the certificate of such a component, from the same list. */}}
{{- define "strata.certificate" -}}
{{- $root := index . 0 -}}
{{- $prefix := printf "%s/%s" $root.Release.Namespace (include "strata.name" $root) -}}
- --cert-secret={{ $prefix }}-{{ index . 1 }}-serving
- --cert-service={{ $prefix }}-{{ index . 2 }}
{{- range index . 3 }}
- --cert-apiservice={{ . }}
{{- end }}
{{- end }}
