{{- define "common.deployment" -}}
{{- $keeps := (.Values.persistence).enabled -}}
{{- if and $keeps (gt (int .Values.replicas) 1) }}
{{- fail "persistence.enabled is the embedded store, which one replica owns: set replicas to 1, or use PostgreSQL" }}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
spec:
  {{- if eq (.Values.autoscaling).kind "none" }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    {{- if $keeps }}
    type: Recreate # the volume has one owner at a time
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
    {{- end }}
  selector:
    matchLabels: {{- include "common.selector" . | nindent 6 }}
  template: {{- include "common.pod" . | nindent 4 }}
{{- end -}}

{{- define "common.claim" -}}
{{- if and (.Values.persistence).enabled (not .Values.persistence.existingClaim) -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .Values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .Values.persistence.size }}}}
{{- end -}}
{{- end -}}

{{- define "common.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
  {{- with .Values.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .Values.service.type }}
  selector: {{- include "common.selector" . | nindent 4 }}
  ports:
    - {name: {{ .Values.portName }}, port: {{ .Values.port }}, targetPort: {{ .Values.portName }}, protocol: TCP, appProtocol: {{ ternary "https" "kubernetes.io/h2c" (eq .Values.probes.scheme "HTTPS") }}}
{{- end -}}

{{- define "common.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "common.serviceAccountName" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "common.pdb" -}}
{{- if .Values.podDisruptionBudget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .Values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "common.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "common.servicemonitor" -}}
{{- if .Values.serviceMonitor.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "common.fullname" . }}
  labels: {{- include "common.labels" . | nindent 4 }}
    {{- with .Values.serviceMonitor.labels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  selector:
    matchLabels: {{- include "common.selector" . | nindent 6 }}
  endpoints:
    - port: {{ .Values.portName }}
      path: /metrics
      interval: {{ .Values.serviceMonitor.interval }}
      scheme: {{ lower .Values.probes.scheme }}
      {{- with .Values.serviceMonitor.bearerToken }}
      authorization: {credentials: {name: {{ .name }}, key: {{ .key }}}}
      {{- end }}
{{- end -}}
{{- end -}}
