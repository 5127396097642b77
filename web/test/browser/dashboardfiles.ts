// Dashboards of a user's directory: each kind of panel, each fault, and one file that is broken.

const kinds = {
  uid: "kinds",
  title: "All kinds of panels",
  description: "A trial.",
  time: {"from": "now-5m", "to": "now"},
  refresh: "5s",
  graphTooltip: 1,
  templating: {
    list: [
      {"name": "instance", "type": "query", "query": "label_values(node_uname_info, instance)", "multi": true, "includeAll": true, "refresh": 2},
      {"name": "job", "type": "query", "query": {"query": "label_values(up, job)"}, "sort": 1},
      {"name": "res", "type": "interval", "query": "1m,5m", "auto": true},
      {"name": "pick", "type": "custom", "query": "one : 1,two : 2", "current": {"value": "2"}},
      {"name": "note", "type": "textbox", "query": "free"},
      {"name": "device", "type": "query", "query": "query_result(topk(3, node_network_receive_bytes_total{instance=~\"$instance\"}))", "regex": "/device=\"([^\"]+)\"/", "multi": true},
    ],
  },
  panels: [
    {"id": 1, "type": "timeseries", "title": "Lines by mode of $instance", "description": "With **markdown**.", "gridPos": {"x": 0, "y": 0, "w": 12, "h": 9}, "targets": [{"refId": "A", "expr": "sum by (mode) (rate(node_cpu_seconds_total{instance=~\"$instance\"}[$__rate_interval]))", "legendFormat": "{{mode}}"}], "fieldConfig": {"defaults": {"unit": "none", "custom": {"fillOpacity": 30, "stacking": {"mode": "normal"}}}, "overrides": [{"matcher": {"id": "byName", "options": "idle"}, "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": "light-green"}}]}]}, "options": {"legend": {"displayMode": "table", "calcs": ["mean", "lastNotNull", "max"], "placement": "right", "sortBy": "Mean", "sortDesc": true}}},
    {"id": 2, "type": "timeseries", "title": "Bars, thresholds", "gridPos": {"x": 12, "y": 0, "w": 12, "h": 9}, "targets": [{"refId": "A", "expr": "node_memory_MemAvailable_bytes", "legendFormat": "available"}, {"refId": "B", "expr": "rate(node_network_receive_bytes_total[$res])", "legendFormat": "__auto"}], "fieldConfig": {"defaults": {"unit": "bytes", "thresholds": {"mode": "absolute", "steps": [{"color": "red", "value": null}, {"color": "green", "value": 2000000000}]}, "custom": {"drawStyle": "bars", "thresholdsStyle": {"mode": "line+area"}}}, "overrides": [{"matcher": {"id": "byFrameRefID", "options": "B"}, "properties": [{"id": "unit", "value": "Bps"}, {"id": "custom.drawStyle", "value": "line"}]}]}},
    {"id": 3, "type": "stat", "title": "Stat of several", "gridPos": {"x": 0, "y": 9, "w": 8, "h": 5}, "targets": [{"refId": "A", "expr": "node_load1"}, {"refId": "B", "expr": "node_load5"}], "fieldConfig": {"defaults": {"unit": "short", "thresholds": {"steps": [{"color": "green", "value": null}, {"color": "orange", "value": 1}]}}}, "options": {"graphMode": "area"}},
    {"id": 4, "type": "stat", "title": "Mapped", "gridPos": {"x": 8, "y": 9, "w": 4, "h": 5}, "targets": [{"refId": "A", "expr": "min(up)"}], "fieldConfig": {"defaults": {"mappings": [{"type": "value", "options": {"1": {"text": "UP", "color": "green"}, "0": {"text": "DOWN", "color": "red"}}}]}}, "options": {"colorMode": "background", "graphMode": "none"}},
    {"id": 5, "type": "gauge", "title": "Gauge", "gridPos": {"x": 12, "y": 9, "w": 6, "h": 5}, "targets": [{"refId": "A", "expr": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"}], "fieldConfig": {"defaults": {"unit": "percentunit", "min": 0, "max": 1, "thresholds": {"steps": [{"color": "green", "value": null}, {"color": "orange", "value": 0.4}, {"color": "red", "value": 0.9}]}}}},
    {"id": 6, "type": "bargauge", "title": "Bars", "gridPos": {"x": 18, "y": 9, "w": 6, "h": 5}, "targets": [{"refId": "A", "expr": "topk(5, scrape_duration_seconds)", "legendFormat": "{{job}}", "instant": true}], "fieldConfig": {"defaults": {"unit": "s"}}},
    {"id": 7, "type": "table", "title": "Table of targets", "gridPos": {"x": 0, "y": 14, "w": 12, "h": 8}, "targets": [{"refId": "A", "expr": "scrape_samples_scraped", "format": "table", "instant": true}, {"refId": "B", "expr": "scrape_duration_seconds", "format": "table", "instant": true}], "transformations": [{"id": "joinByField", "options": {"byField": "instance"}}, {"id": "organize", "options": {"excludeByName": {"Time 1": true, "Time 2": true, "job 2": true, "__name__ 1": true, "__name__ 2": true, "metrics_path 1": true, "metrics_path 2": true, "node 1": true, "node 2": true}, "renameByName": {"job 1": "Job", "Value #A": "Samples", "Value #B": "Duration"}}}], "fieldConfig": {"overrides": [{"matcher": {"id": "byName", "options": "Duration"}, "properties": [{"id": "unit", "value": "s"}, {"id": "custom.cellOptions", "value": {"type": "gauge"}}]}]}, "options": {"sortBy": [{"displayName": "Samples", "desc": true}]}},
    {"id": 8, "type": "text", "title": "", "gridPos": {"x": 12, "y": 14, "w": 6, "h": 8}, "options": {"content": "# Text of $note\n\nA *list* with `code`:\n\n- one\n- [two](https://example.org/)\n\n| a | b |\n|---|---|\n| 1 | <img src=x onerror=alert(1)> |\n"}},
    {"id": 9, "type": "heatmap", "title": "Unknown", "gridPos": {"x": 18, "y": 14, "w": 6, "h": 8}, "targets": [{"expr": "rate(node_load1[$__rate_interval])"}]},
    {"id": 10, "type": "row", "title": "More of $job", "collapsed": false, "gridPos": {"x": 0, "y": 22, "w": 24, "h": 1}},
    {"id": 11, "type": "timeseries", "title": "Failing", "gridPos": {"x": 0, "y": 23, "w": 6, "h": 6}, "targets": [{"expr": "rate(up)"}]},
    {"id": 12, "type": "timeseries", "title": "Nothing", "gridPos": {"x": 6, "y": 23, "w": 6, "h": 6}, "targets": [{"expr": "rate(no_such_metric_total[5m]) / up"}]},
    {"id": 13, "type": "stat", "title": "Nothing with a text", "gridPos": {"x": 12, "y": 23, "w": 6, "h": 6}, "targets": [{"expr": "up{job=\"none\"}"}], "fieldConfig": {"defaults": {"noValue": "none yet"}}},
    {"id": 14, "type": "stat", "title": "Repeated for $device", "repeat": "device", "gridPos": {"x": 0, "y": 29, "w": 6, "h": 4}, "targets": [{"expr": "rate(node_network_receive_bytes_total{device=\"$device\"}[$__rate_interval])"}], "fieldConfig": {"defaults": {"unit": "Bps"}}, "maxPerRow": 8},
    {"id": 15, "type": "row", "title": "Folded", "collapsed": true, "gridPos": {"x": 0, "y": 33, "w": 24, "h": 1}, "panels": [{"id": 16, "type": "timeseries", "title": "Inside", "gridPos": {"x": 0, "y": 34, "w": 24, "h": 6}, "targets": [{"expr": "up"}]}]},
    {"id": 17, "type": "timeseries", "title": "Elsewhere", "gridPos": {"x": 18, "y": 23, "w": 6, "h": 6}, "datasource": {"type": "loki", "uid": "x"}, "targets": [{"expr": "{a=\"b\"}"}]},
  ],
};

const wide = {
  uid: "wide",
  title: "Too many series",
  time: { from: "now-5m", to: "now" },
  panels: [
    { id: 1, type: "timeseries", title: "Wide chart", gridPos: { x: 0, y: 0, w: 12, h: 10 }, targets: [{ refId: "A", expr: "wide", legendFormat: "{{i}}" }] },
    { id: 2, type: "table", title: "Wide table", gridPos: { x: 12, y: 0, w: 12, h: 10 }, targets: [{ refId: "A", expr: "wide", format: "table", instant: true }] },
  ],
};

/** Files by name. */
export const files: Record<string, string> = {
  "kinds.json": JSON.stringify({ meta: {}, dashboard: kinds }),
  "wide.json": JSON.stringify(wide),
  "broken.json": '{\n  "title": "Broken",\n  "panels": [\n    {"type": "stat"},\n  ]\n}\n',
};
