{{/* What `python -m blockyard_interchange` reads. No secret is in it: PostgreSQL's come in the environment (PG*). */}}
{{- define "blockyard.interchange.settings" -}}
{{- $settings := dict
      "folder" "/var/lib/blockyard"
      "clients" "tcp://0.0.0.0:5555"
      "managers" "tcp://0.0.0.0:5556"
      "metrics" "0.0.0.0:9090"
      "health" "0.0.0.0:8080"
      "keys" "/etc/blockyard/keys"
      "wait_for_journal" 60
      "core" (merge (dict) .Values.interchange.settings (dict "pools" (dict))) -}}
{{- if .Values.hub.enabled -}}
{{- $_ := set $settings "hub" (printf "tcp://%s:5557" (.Values.hub.separate | ternary "0.0.0.0" "127.0.0.1")) -}}
{{- $_ := set $settings.core "monitoring" true -}}
{{- end -}}
{{- if eq .Values.interchange.journal "postgresql" -}}
{{- $_ := set $settings "journal" "postgresql://" -}}
{{- end -}}
{{ toPrettyJson $settings }}
{{- end -}}

{{/* The environment with which libpq finds the PostgreSQL of journal and history. */}}
{{- define "blockyard.interchange.database" -}}
{{- $fullname := include "blockyard.fullname" . -}}
{{- if .Values.postgresql.enabled -}}
- {name: PGHOST, value: {{ $fullname }}-postgresql}
- {name: PGPORT, value: "5432"}
- {name: PGDATABASE, value: blockyard}
- {name: PGUSER, value: blockyard}
- {name: PGSSLMODE, value: disable}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "blockyard.postgresql.secret" . }}, key: password}}
{{- else -}}
{{- $external := .Values.externalPostgresql -}}
{{- $plain := dict "host" $external.host "port" ($external.port | int) "database" $external.database "username" $external.username -}}
{{- range $variable, $name := dict "PGHOST" "host" "PGPORT" "port" "PGDATABASE" "database" "PGUSER" "username" "PGPASSWORD" "password" }}
{{- $key := index $external.keys $name }}
{{- if and $external.existingSecret $key }}
- name: {{ $variable }}
  valueFrom: {secretKeyRef: {name: {{ $external.existingSecret }}, key: {{ $key }}}}
{{- else if ne $name "password" }}
- {name: {{ $variable }}, value: {{ index $plain $name | toString | quote }}}
{{- end }}
{{- end }}
- {name: PGSSLMODE, value: {{ $external.sslMode }}}
{{- end -}}
{{- end -}}
