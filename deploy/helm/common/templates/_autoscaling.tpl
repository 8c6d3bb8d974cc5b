{{/* kind `cpu`: a HorizontalPodAutoscaler on processor time. */}}
{{- define "common.hpa" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if has $scaling.kind (list "cpu" "external") -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "common.fullname" . }}}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  behavior:
    # A pod that goes drains first: do not send one away for a short quiet time.
    scaleDown: {stabilizationWindowSeconds: {{ $scaling.scaleDownSeconds }}}
  metrics:
    {{- if eq $scaling.kind "cpu" }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $scaling.cpuPercent }}}
    {{- else }}
    - type: External
      external:
        metric:
          name: {{ $scaling.external.metric }}
          selector: {matchLabels: {queue: {{ printf "%s/%s" $scaling.namespace $scaling.queue | replace "/" "." | quote }}}}
        target: {type: AverageValue, averageValue: "1"}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* kind `keda`: as many workers as the scheduler says that the queue needs. */}}
{{- define "common.scaledobject" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if eq $scaling.kind "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ include "common.fullname" . }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: {{ $scaling.keda.pollingSeconds }}
  cooldownPeriod: {{ $scaling.scaleDownSeconds }}
  fallback: {failureThreshold: 3, replicas: {{ $scaling.keda.fallbackReplicas }}}
  triggers:
    - type: metrics-api
      metadata:
        url: "{{ $scaling.keda.gatewayUrl | default (printf "http://%s-gateway:8080" .Release.Name) }}/v1/namespaces/{{ $scaling.namespace }}/queues/{{ $scaling.queue }}:scaling?slotsPerWorker={{ ((.Values.config).worker).slots }}&targetWait={{ $scaling.keda.targetWait }}"
        valueLocation: neededWorkers
        targetValue: "1"
        activationTargetValue: "0"
        {{- if $scaling.keda.token }}
        authMode: bearer
      authenticationRef: {name: {{ include "common.fullname" . }}}
        {{- end }}
{{- with $scaling.keda.token }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ include "common.fullname" $ }}
  labels: {{- include "common.labels" $ | nindent 4 }}
spec:
  secretTargetRef:
    - {parameter: token, name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end -}}
{{- end -}}
