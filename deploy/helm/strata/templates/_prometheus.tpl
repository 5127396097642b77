{{- /* The server's prometheus.yml: jobs named and labelled as public dashboards expect. */}}
{{- define "strata.prometheus" -}}
{{- $namespace := .Release.Namespace -}}
{{- $instance := .Release.Name -}}
global:
  scrape_interval: {{ .Values.scrapeInterval }}
  scrape_timeout: {{ .Values.scrapeInterval }}
  evaluation_interval: {{ .Values.scrapeInterval }}
rule_files: [rules.yml]
scrape_configs:
  - job_name: strata
    static_configs: [{targets: ["localhost:{{ .Values.server.port }}"]}]
  - job_name: node-exporter
    kubernetes_sd_configs: [{{ include "strata.pods" (list $namespace $instance "agent") }}]
    relabel_configs:
      {{- include "strata.port" "node" | nindent 6 }}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - job_name: kubelet
    metrics_path: /metrics/cadvisor
    # The body carries the time of each reading; a container that is gone must
    # leave queries all the same.
    honor_timestamps: true
    track_timestamps_staleness: true
    honor_labels: true
    kubernetes_sd_configs: [{{ include "strata.pods" (list $namespace $instance "agent") }}]
    relabel_configs:
      {{- include "strata.port" "container" | nindent 6 }}
      - {source_labels: [__metrics_path__], target_label: metrics_path}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
  - job_name: kube-state-metrics
    honor_labels: true
    kubernetes_sd_configs: [{{ include "strata.pods" (list $namespace $instance "kubestate") }}]
    relabel_configs:
      {{- include "strata.port" "metrics" | nindent 6 }}
  # Pods that ask for it: annotations prometheus.io/scrape: "true", and where
  # needed prometheus.io/port and prometheus.io/path.
  - job_name: kubernetes-pods
    body_size_limit: 50MB
    sample_limit: 100000
    label_limit: 64
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}
      - {source_labels: [__meta_kubernetes_pod_phase], regex: Pending|Succeeded|Failed, action: drop}
      # One target a pod: the annotated port of the pod, else each declared one.
      - {source_labels: [__meta_kubernetes_pod_container_init], regex: "true", action: drop}
      - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: (.+);(\d+)
        target_label: __address__
        replacement: ${1}:${2}
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        regex: (.+)
        target_label: __metrics_path__
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
  {{- with .Values.server.extraScrapeConfigs }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- /* Discovery of one component's pods: (list namespace instance component). */}}
{{- define "strata.pods" -}}
{role: pod, namespaces: {names: [{{ index . 0 }}]}, selectors: [{role: pod, label: "app.kubernetes.io/name=strata,app.kubernetes.io/instance={{ index . 1 }},app.kubernetes.io/component={{ index . 2 }}"}]}
{{- end }}

{{- define "strata.port" -}}
- {source_labels: [__meta_kubernetes_pod_container_port_name], regex: {{ . }}, action: keep}
{{- end }}
