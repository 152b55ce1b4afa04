{{/* The Secret with the token of those who may look at the page. */}}
{{- define "blockyard.dashboard.secret" -}}
{{- .Values.dashboard.tokenSecret | default (printf "%s-dashboard" (include "blockyard.fullname" .)) -}}
{{- end -}}
