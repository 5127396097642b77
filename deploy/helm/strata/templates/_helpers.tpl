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

{{- /* What a container may do when it needs nothing special. */}}
{{- define "strata.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Liveness and readiness on a named port. */}}
{{- define "strata.probes" -}}
livenessProbe:
  httpGet: {path: /-/healthy, port: {{ . }}}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /-/ready, port: {{ . }}}
  periodSeconds: 2
{{- end }}
