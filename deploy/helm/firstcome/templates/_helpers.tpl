{{- define "firstcome.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "firstcome.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "firstcome.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "firstcome.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "firstcome.selector" -}}
app.kubernetes.io/name: {{ include "firstcome.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "firstcome.labels" -}}
{{ include "firstcome.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "firstcome.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "firstcome.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "firstcome.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{/* Settings of a process: those of all, then its own, then where its secrets are. */}}
{{- define "firstcome.env" -}}
{{- range $name, $value := .root.Values.config }}
{{- if ne (toString $value) "" }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := .own }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .root.Values.secrets.existingSecret }}
{{- range $name, $key := .root.Values.secrets.files }}
{{- if $key }}
- name: {{ $name }}_FILE
  value: {{ printf "%s/%s" $.root.Values.secrets.mountPath $key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the pods of all processes have in common: who they are, what they mount. */}}
{{- define "firstcome.podBase" -}}
serviceAccountName: {{ include "firstcome.serviceAccount" . }}
automountServiceAccountToken: false
# Otherwise a Service called firstcome would set FIRSTCOME_PORT and others, which are no settings: the process would say so
# and not start.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.secrets.existingSecret .Values.extraVolumes }}
volumes:
  {{- if .Values.secrets.existingSecret }}
  - name: secrets
    secret:
      secretName: {{ .Values.secrets.existingSecret }}
      defaultMode: 0440
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "firstcome.mounts" -}}
{{- if or .Values.secrets.existingSecret .Values.extraVolumeMounts }}
volumeMounts:
  {{- if .Values.secrets.existingSecret }}
  - name: secrets
    mountPath: {{ .Values.secrets.mountPath }}
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A Deployment of one role: `role` is the command, `of` its values, `own` its settings. */}}
{{- define "firstcome.deployment" -}}
{{- $labels := dict "root" .root "component" .role -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "firstcome.fullname" .root }}{{ .suffix }}
  labels:
    {{- include "firstcome.labels" $labels | nindent 4 }}
spec:
  {{- if not .of.autoscaling.enabled }}
  replicas: {{ .of.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  # A new pod is ready before an old one ends.
  strategy:
    type: RollingUpdate
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels:
      {{- include "firstcome.selector" $labels | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "firstcome.labels" $labels | nindent 8 }}
        {{- with .root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "firstcome.podBase" .root | nindent 6 }}
      # The pause before the signal, the draining, and five seconds: then it is killed.
      terminationGracePeriodSeconds: {{ add .root.Values.shutdown.preStopSeconds .root.Values.shutdown.deadlineSeconds 5 }}
      topologySpreadConstraints:
        {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - maxSkew: 1
          topologyKey: {{ $key }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "firstcome.selector" $labels | nindent 14 }}
        {{- end }}
      {{- with .of.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .of.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .of.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: firstcome
          image: {{ include "firstcome.image" .root }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [{{ .role }}]
          securityContext:
            {{- toYaml .root.Values.securityContext | nindent 12 }}
          env:
            - name: FIRSTCOME_HTTP_LISTEN
              value: 0.0.0.0:8080
            - name: FIRSTCOME_SHUTDOWN_DEADLINE
              value: {{ printf "%vs" .root.Values.shutdown.deadlineSeconds | quote }}
            {{- include "firstcome.env" (dict "root" .root "own" .own) | nindent 12 }}
          ports:
            - name: http
              containerPort: 8080
          # It may take a while to start: Redis is asked, gates are aligned, the schema is looked at.
          startupProbe:
            httpGet: { path: /livez, port: http }
            periodSeconds: 2
            failureThreshold: 60
          # Asks nothing of the parts: a restart would not bring them back.
          livenessProbe:
            httpGet: { path: /livez, port: http }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          # 503 when it cannot do its work at all. Parts are asked once a second at most, for up to 3 s.
          readinessProbe:
            httpGet: { path: /readyz, port: http }
            periodSeconds: 2
            timeoutSeconds: 4
            failureThreshold: 2
          lifecycle:
            preStop:
              sleep: { seconds: {{ .root.Values.shutdown.preStopSeconds }} }
          resources:
            {{- toYaml .of.resources | nindent 12 }}
          {{- include "firstcome.mounts" .root | nindent 10 }}
{{- end -}}

{{- define "firstcome.budget" -}}
{{- $labels := dict "root" .root "component" .role -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "firstcome.fullname" .root }}{{ .suffix }}
  labels:
    {{- include "firstcome.labels" $labels | nindent 4 }}
spec:
  maxUnavailable: {{ .of.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "firstcome.selector" $labels | nindent 6 }}
{{- end -}}

{{/* Scales a role: `metrics` is the list in the words of Kubernetes. */}}
{{- define "firstcome.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "firstcome.fullname" .root }}{{ .suffix }}
  labels:
    {{- include "firstcome.labels" (dict "root" .root "component" .role) | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "firstcome.fullname" .root }}{{ .suffix }}
  minReplicas: {{ .of.autoscaling.minReplicas }}
  maxReplicas: {{ .of.autoscaling.maxReplicas }}
  metrics:
    {{- toYaml .metrics | nindent 4 }}
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
    # Each change moves buckets and partitions: not for every lull.
    scaleDown:
      stabilizationWindowSeconds: 600
{{- end -}}
