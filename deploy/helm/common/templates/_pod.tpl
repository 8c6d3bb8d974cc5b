{{/* The template of a service's pods. */}}
{{- define "common.pod" -}}
metadata:
  labels: {{- include "common.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/config: {{ include "common.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "common.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Until the balancers have forgotten the pod, then the service's own drain, then a margin for what it sends last.
  terminationGracePeriodSeconds: {{ add .Values.drain.preStopSeconds .Values.drain.graceSeconds 5 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range .Values.topologySpread }}
    - topologyKey: {{ .topologyKey }}
      maxSkew: {{ .maxSkew | default 1 }}
      whenUnsatisfiable: {{ .whenUnsatisfiable | default "ScheduleAnyway" }}
      labelSelector:
        matchLabels: {{- include "common.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: {{ .Chart.Name }}
      image: {{ include "common.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: ["--config", "/etc/mcp/config.yaml"]
      env:
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        # What the instance registers: the pod itself, because callers balance over instances by themselves.
        - name: {{ include "common.env" . }}SERVICE__ADVERTISE
          value: "$(POD_IP):{{ .Values.port }}"
        {{- range $name, $from := .Values.secretEnv }}
        - name: {{ $name }}
          valueFrom: {secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}{{ if $from.optional }}, optional: true{{ end }}}}
        {{- end }}
        {{- with .Values.env }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - {name: {{ .Values.portName }}, containerPort: {{ .Values.port }}, protocol: TCP}
      {{- include "common.probes" . | nindent 6 }}
      {{- with .Values.drain.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      resources: {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/mcp, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        - {name: data, mountPath: /var/lib/mcp}
        {{- range .Values.secretMounts }}
        - {name: {{ .name }}, mountPath: {{ .mountPath }}, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: config
      configMap: {name: {{ include "common.fullname" . }}}
    - name: tmp
      emptyDir: {sizeLimit: {{ .Values.tmpSize }}}
    - name: data
      {{- if (.Values.persistence).enabled }}
      persistentVolumeClaim: {claimName: {{ .Values.persistence.existingClaim | default (include "common.fullname" .) }}}
      {{- else }}
      emptyDir: {sizeLimit: {{ .Values.tmpSize }}}
      {{- end }}
    {{- range .Values.secretMounts }}
    - name: {{ .name }}
      secret: {secretName: {{ .secretName }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end -}}

{{- define "common.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: {{ .Values.portName }}, scheme: {{ .Values.probes.scheme }}}
  periodSeconds: 2
  timeoutSeconds: {{ .Values.probes.timeoutSeconds }}
  failureThreshold: {{ .Values.probes.startupTries }}
livenessProbe:
  httpGet: {path: /livez, port: {{ .Values.portName }}, scheme: {{ .Values.probes.scheme }}}
  periodSeconds: 10
  timeoutSeconds: {{ .Values.probes.timeoutSeconds }}
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .Values.portName }}, scheme: {{ .Values.probes.scheme }}}
  periodSeconds: 2
  timeoutSeconds: {{ .Values.probes.timeoutSeconds }}
  failureThreshold: 2
{{- end -}}
