{{- define "blockyard.postgresql.secret" -}}
{{- .Values.postgresql.existingSecret | default (printf "%s-postgresql" (include "blockyard.fullname" .)) -}}
{{- end -}}
