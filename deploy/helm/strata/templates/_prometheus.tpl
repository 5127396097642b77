{{- /* The server's prometheus.yml: jobs named and labelled as public dashboards expect. */}}
{{- define "strata.prometheus" -}}
{{- $namespace := .Release.Namespace -}}
{{- $agents := include "strata.agentNamespace" . -}}
{{- $instance := .Release.Name -}}
{{- $labels := .Values.server.externalLabels -}}
{{- if gt (int .Values.server.replicas) 1 }}{{ $labels = merge (dict "replica" "${POD_NAME}") $labels }}{{ end -}}
global:
  scrape_interval: {{ .Values.scrapeInterval }}
  scrape_timeout: {{ .Values.scrapeInterval }}
  evaluation_interval: {{ .Values.scrapeInterval }}
  {{- with $labels }}
  external_labels: {{- toYaml . | nindent 4 }}
  {{- end }}
rule_files: [rules.yml]
{{- with .Values.server.alerting.alertmanagers }}
alerting:
  {{- if gt (int $.Values.server.replicas) 1 }}
  # Of the replicas' alerts an Alertmanager makes one.
  alert_relabel_configs: [{regex: replica, action: labeldrop}]
  {{- end }}
  alertmanagers: {{- toYaml . | nindent 4 }}
{{- end }}
{{- with .Values.server.remoteWrite }}
remote_write: {{- toYaml . | nindent 2 }}
{{- end }}
scrape_configs:
  # Strata itself. The APIs' certificate is Strata's own and no secret is shown.
  - job_name: strata
    tls_config: {insecure_skip_verify: true}
    kubernetes_sd_configs: [{{ include "strata.pods" (list $namespace $instance "app.kubernetes.io/component in (server,core,kubestate)") }}]
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component, __meta_kubernetes_pod_container_port_name]
        regex: server;http|core;https|kubestate;telemetry
        action: keep
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: https, target_label: __scheme__, replacement: https}
      - {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], target_label: component}
      {{- include "strata.place" . | nindent 6 }}
  {{- if .Values.agent.enabled }}
  - job_name: node-exporter
    kubernetes_sd_configs: [{{ include "strata.pods" (list $agents $instance "app.kubernetes.io/component=agent") }}]
    relabel_configs:
      {{- include "strata.port" "node" | nindent 6 }}
      {{- include "strata.place" . | nindent 6 }}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
  - job_name: kubelet
    metrics_path: /metrics/cadvisor
    # The body carries the time of each reading; a container that is gone must
    # leave queries all the same.
    honor_timestamps: true
    track_timestamps_staleness: true
    honor_labels: true
    kubernetes_sd_configs: [{{ include "strata.pods" (list $agents $instance "app.kubernetes.io/component=agent") }}]
    relabel_configs:
      {{- include "strata.port" "container" | nindent 6 }}
      - {source_labels: [__metrics_path__], target_label: metrics_path}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
  {{- end }}
  {{- if .Values.kubestate.enabled }}
  - job_name: kube-state-metrics
    honor_labels: true
    kubernetes_sd_configs: [{{ include "strata.pods" (list $namespace $instance "app.kubernetes.io/component=kubestate") }}]
    relabel_configs:
      {{- include "strata.port" "metrics" | nindent 6 }}
  {{- end }}
  # Pods that ask for it: annotations prometheus.io/scrape: "true", and where
  # needed prometheus.io/port, prometheus.io/path and prometheus.io/scheme.
  - job_name: kubernetes-pods
    body_size_limit: 50MB
    sample_limit: 100000
    label_limit: 64
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
      - {source_labels: [__meta_kubernetes_pod_phase], regex: Pending|Succeeded|Failed, action: drop}
      - {source_labels: [__meta_kubernetes_pod_ip], target_label: __tmp_host}
      {{- include "strata.annotated" "pod" | nindent 6 }}
      {{- include "strata.place" . | nindent 6 }}
  # Pods of a Service that asks for it by the same annotations. Their metrics
  # have the label service, so that an HPA of type Object can describe it. A pod
  # that asks for itself is left to the job above, and counted once.
  - job_name: kubernetes-service-endpoints
    body_size_limit: 50MB
    sample_limit: 100000
    label_limit: 64
    kubernetes_sd_configs: [{role: endpointslice}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_service_annotation_prometheus_io_scrape], regex: "true", action: keep}
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: drop}
      # Of a pod with two addresses the first is asked. What is known of a pod is
      # as old as its slice: it may lack the address.
      - {source_labels: [__address__], regex: '\[?(.+?)\]?:\d+', target_label: __tmp_host}
      - {source_labels: [__address__], regex: '\[?(.+?)\]?:\d+', target_label: __tmp_first}
      - {source_labels: [__meta_kubernetes_pod_ip], regex: (.+), target_label: __tmp_first}
      - {source_labels: [__tmp_first], target_label: __tmp_host, action: keepequal}
      {{- include "strata.annotated" "service" | nindent 6 }}
      {{- include "strata.place" . | nindent 6 }}
      - {source_labels: [__meta_kubernetes_service_name], target_label: service}
  {{- with .Values.server.extraScrapeConfigs }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- /* Discovery of Strata's own pods: (list namespace instance selector). */}}
{{- define "strata.pods" -}}
{role: pod, namespaces: {names: [{{ index . 0 }}]}, selectors: [{role: pod, label: "app.kubernetes.io/name=strata,app.kubernetes.io/instance={{ index . 1 }},{{ index . 2 }}"}]}
{{- end }}

{{- define "strata.port" -}}
- {source_labels: [__meta_kubernetes_pod_container_port_name], regex: {{ . }}, action: keep}
{{- end }}

{{- /* Where a pod is. */}}
{{- define "strata.place" -}}
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
{{- end }}

{{- /* One target a pod, as the annotations of "pod" or "service" say: the
annotated port of the host in __tmp_host, else each declared one. */}}
{{- define "strata.annotated" -}}
- {source_labels: [__meta_kubernetes_pod_container_init], regex: "true", action: drop}
- source_labels: [__tmp_host, __meta_kubernetes_{{ . }}_annotation_prometheus_io_port]
  regex: ([^:]+);(\d+)
  target_label: __address__
  replacement: ${1}:${2}
- source_labels: [__tmp_host, __meta_kubernetes_{{ . }}_annotation_prometheus_io_port]
  regex: (.*:.*);(\d+)
  target_label: __address__
  replacement: '[${1}]:${2}'
- source_labels: [__meta_kubernetes_{{ . }}_annotation_prometheus_io_path]
  regex: (.+)
  target_label: __metrics_path__
- source_labels: [__meta_kubernetes_{{ . }}_annotation_prometheus_io_scheme]
  regex: (https?)
  target_label: __scheme__
{{- end }}
