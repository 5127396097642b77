{{- /* Everything is named after the release, unless that is the chart's name already. */}}
{{- define "strata.name" -}}
{{- if eq .Release.Name "strata" }}strata{{ else }}{{ printf "%s-strata" .Release.Name | trunc 50 }}{{ end }}
{{- end }}

{{- /* Labels that select a component: (list $ "core"). */}}
{{- define "strata.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: strata
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "strata.labels" -}}
{{- $root := index . 0 -}}
{{ include "strata.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{- /* The image of a binary: (list $ "strata-node"). */}}
{{- define "strata.image" -}}
{{- $root := index . 0 -}}
{{ with $root.Values.image.registry }}{{ . }}/{{ end }}{{ index . 1 }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}
{{- end }}

{{- define "strata.agentNamespace" -}}
{{ .Values.agent.namespace | default .Release.Namespace }}
{{- end }}

{{- /* The ServiceAccount of a component: (list $ "core" values namespace). */}}
{{- define "strata.account" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "strata.name" $root }}-{{ index . 1 }}
  namespace: {{ index . 3 }}
  labels: {{- include "strata.labels" (list $root (index . 1)) | nindent 4 }}
  {{- with (index . 2).serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{- /* Binds a ClusterRole to the ServiceAccount of the same name: (list $ "core"). */}}
{{- define "strata.binding" -}}
{{- $root := index . 0 -}}
{{- $name := printf "%s-%s" (include "strata.name" $root) (index . 1) -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{- include "strata.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}

{{- /* Labels and annotations of a component's pods: (list $ "core" values more),
more being further annotations. */}}
{{- define "strata.podMetadata" -}}
labels:
  {{- include "strata.labels" (list (index . 0) (index . 1)) | nindent 2 }}
  {{- with (index . 2).podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with merge (dict) (index . 3) (index . 2).podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where a component's pods run, as whom they pull: (list $ values). */}}
{{- define "strata.scheduling" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Replicas on different nodes, where that can be: (list $ "core" values). */}}
{{- define "strata.spread" -}}
topologySpreadConstraints:
  {{- with (index . 2).topologySpreadConstraints }}{{ toYaml . | nindent 2 }}{{ else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "strata.selector" (list (index . 0) (index . 1)) | nindent 8 }}
  {{- end }}
{{- end }}

{{- /* A PodDisruptionBudget: (list $ "core" values). */}}
{{- define "strata.budget" -}}
{{- $root := index . 0 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "strata.name" $root }}-{{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "strata.labels" (list $root (index . 1)) | nindent 4 }}
spec:
  maxUnavailable: {{ (index . 2).podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready keeps no node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "strata.selector" (list $root (index . 1)) | nindent 6 }}
{{- end }}

{{- /* What a container may do when it needs nothing special: Pod Security "restricted". */}}
{{- define "strata.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Probes on a named port: (list port seconds), seconds being how long the
start may take. With a third value, that is the place of readiness. */}}
{{- define "strata.probes" -}}
startupProbe:
  httpGet: {path: /-/healthy, port: {{ index . 0 }}}
  periodSeconds: 1
  failureThreshold: {{ index . 1 }}
livenessProbe:
  httpGet: {path: /-/healthy, port: {{ index . 0 }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {{ if gt (len .) 2 }}{{ index . 2 }}{{ else }}{path: /-/ready, port: {{ index . 0 }}}{{ end }}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{- /* Those who ask through the API server must have heard that a pod is going
before it stops listening. Kubernetes has the action since 1.30. */}}
{{- define "strata.farewell" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
lifecycle:
  preStop:
    sleep: {seconds: 5}
{{- end }}
{{- end }}

{{- /* Parts of NetworkPolicies, from values.networkPolicy: peers of CIDRs, the
API server as what is reached and as who comes. */}}
{{- define "strata.cidrs" -}}
{{- range . }}
- {ipBlock: {cidr: {{ . }}}}
{{- end }}
{{- end }}

{{- define "strata.toAPIServer" -}}
- ports: {{- range .apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
  {{- end }}
  {{- with .apiServerCIDRs }}
  to: {{- include "strata.cidrs" . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "strata.fromAPIServer" -}}
- ports: [{protocol: TCP, port: 9443}]
  {{- with .apiServerCIDRs }}
  from: {{- include "strata.cidrs" . | nindent 4 }}
  {{- end }}
{{- end }}
