{{- define "blockyard.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if .Values.nameOverride -}}
{{- printf "%s-%s" .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object; give (dict "top" $ "component" NAME). */}}
{{- define "blockyard.labels" -}}
{{ include "blockyard.selector" . }}
app.kubernetes.io/version: {{ .top.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: blockyard
app.kubernetes.io/managed-by: {{ .top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .top.Chart.Name .top.Chart.Version | replace "+" "_" }}
{{- with .top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that never change: for selectors. */}}
{{- define "blockyard.selector" -}}
app.kubernetes.io/name: blockyard
app.kubernetes.io/instance: {{ .top.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Metadata of a namespaced object of the release; give (dict "top" $ "component" NAME "name" NAME). */}}
{{- define "blockyard.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .top.Release.Namespace }}
labels:
  {{- include "blockyard.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .top.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a pod; give (dict "top" $ "component" NAME "annotations" DICT). */}}
{{- define "blockyard.podMetadata" -}}
{{- $own := index .top.Values .component -}}
labels:
  {{- include "blockyard.labels" . | nindent 2 }}
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) $own.podAnnotations .top.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod may run, and what it may pull; give (dict "top" $ "component" NAME). */}}
{{- define "blockyard.placement" -}}
{{- $own := index .top.Values .component -}}
{{- with .top.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat ($own.tolerations | default list) (.tolerations | default list) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.topologySpreadConstraints | default .spread }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image's reference; give (dict "top" $ "image" NAME). */}}
{{- define "blockyard.image" -}}
{{- $image := index .top.Values.images .image -}}
{{- $repository := $image.repository -}}
{{- with .top.Values.images.registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .top.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Restricted Pod Security (https://kubernetes.io/docs/concepts/security/pod-security-standards/). */}}
{{- define "blockyard.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 65532 }}
  runAsGroup: {{ .user | default 65532 }}
  fsGroup: {{ .user | default 65532 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "blockyard.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* The namespaces whose pools are served, as a JSON list; [] with watch.clusterWide. */}}
{{- define "blockyard.namespaces" -}}
{{- if .Values.watch.clusterWide -}}
[]
{{- else -}}
{{ .Values.watch.namespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end -}}
{{- end -}}

{{- define "blockyard.serviceAccount" -}}
{{- $own := (index .top.Values .component).serviceAccount -}}
{{- $own.name | default (printf "%s-%s" (include "blockyard.fullname" .top) .component) -}}
{{- end -}}

{{/* A volume claim's spec; give a persistence block. */}}
{{- define "blockyard.claim" -}}
accessModes: {{ toJson .accessModes }}
{{- if eq .storageClass "-" }}
storageClassName: ""
{{- else if .storageClass }}
storageClassName: {{ .storageClass }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}
