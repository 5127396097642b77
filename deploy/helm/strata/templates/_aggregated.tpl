{{- /*
What a component needs to serve an API behind the aggregation layer, beside a
ClusterRole named after it: (list $ "core" (list "v1.metrics.k8s.io")).
*/}}
{{- define "strata.aggregated" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $name := printf "%s-%s" (include "strata.name" $root) $component -}}
{{- $labels := include "strata.labels" (list $root $component) -}}
{{- $namespace := $root.Release.Namespace -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $namespace }}}
---
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
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  selector: {{- include "strata.selector" (list $root $component) | nindent 4 }}
  ports:
    - {name: https, port: 443, targetPort: https}
    {{- if eq $component "server" }}
    - {name: http, port: {{ $root.Values.server.port }}, targetPort: http}
    {{- end }}
{{- range index . 2 }}
{{- $version := . | splitList "." | first }}
{{- $group := . | trimPrefix (printf "%s." $version) }}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ . }}
  labels: {{- $labels | nindent 4 }}
spec:
  group: {{ $group }}
  version: {{ $version }}
  groupPriorityMinimum: 100
  versionPriority: {{ get (dict "v1" 300 "v1beta2" 200 "v1beta1" 100) $version }}
  service: {name: {{ $name }}, namespace: {{ $namespace }}, port: 443}
  # caBundle is put in by Strata, with the certificate that it made.
{{- end }}
{{- end }}

{{- /* The flags about the certificate of such a component, from the same list. */}}
{{- define "strata.certificate" -}}
{{- $root := index . 0 -}}
{{- $name := printf "%s-%s" (include "strata.name" $root) (index . 1) -}}
- --cert-secret={{ $root.Release.Namespace }}/{{ $name }}-serving
- --cert-service={{ $root.Release.Namespace }}/{{ $name }}
{{- range index . 2 }}
- --cert-apiservice={{ . }}
{{- end }}
{{- end }}
