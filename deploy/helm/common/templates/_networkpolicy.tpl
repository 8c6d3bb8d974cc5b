{{/* Who may call the service, and whom it may call. Everything else is refused where a network plugin enforces it. */}}
{{- define "common.networkpolicy" -}}
{{- if .Values.networkPolicy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "common.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if .Values.networkPolicy.fromAnywhere }}
  ingress:
    - ports: [{port: {{ .Values.portName }}, protocol: TCP}]
  {{- else if or .Values.networkPolicy.fromComponents .Values.networkPolicy.from }}
  ingress:
    - ports: [{port: {{ .Values.portName }}, protocol: TCP}]
      from:
        {{- range .Values.networkPolicy.fromComponents }}
        - podSelector: {matchLabels: {app.kubernetes.io/name: mcp, app.kubernetes.io/component: {{ . }}}}
        {{- end }}
        {{- with .Values.networkPolicy.from }}{{ toYaml . | nindent 8 }}{{ end }}
  {{- else }}
  # No `ingress` is nobody. So is an empty list, but the server drops that, and every apply would be a new generation.
  {{- end }}
  egress:
    {{- if .Values.networkPolicy.toAnywhere }}
    - {}
    {{- else }}
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    - ports: [{port: 2379, protocol: TCP}] # etcd
    - ports: [{port: 4317, protocol: TCP}] # OpenTelemetry Collector
    - to: [{podSelector: {matchLabels: {app.kubernetes.io/name: mcp}}}]
    {{- with .Values.networkPolicy.to }}{{ toYaml . | nindent 4 }}{{ end }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* Everything of one service, each in a document of its own. */}}
{{- define "common.all" -}}
{{- range $part := list "serviceaccount" "configmap" "claim" "service" "deployment" "pdb" "hpa" "scaledobject" "networkpolicy" "servicemonitor" }}
{{- with include (printf "common.%s" $part) $ }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end -}}
