{{/* The service's settings: those of all services, then its own; the address and the grace come from the chart. */}}
{{- define "common.settings" -}}
{{- $global := .Values.global | default dict -}}
{{- $shared := dict "coord" ($global.coord | default dict) "telemetry" ($global.telemetry | default dict) -}}
{{- $settings := mustMergeOverwrite (deepCopy $shared) (deepCopy .Values.config) -}}
{{- $service := dict "listen" (printf "0.0.0.0:%v" .Values.port) "shutdown_grace" (printf "%vs" .Values.drain.graceSeconds) -}}
{{- $settings = mustMergeOverwrite $settings (dict "service" $service) -}}
{{- range $section, $values := $settings }}
{{- if not $values }}{{ $settings = omit $settings $section }}{{ end }}
{{- end }}
{{- toYaml $settings -}}
{{- end -}}

{{- define "common.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
data:
  config.yaml: |
    {{- include "common.settings" . | nindent 4 }}
{{- end -}}
