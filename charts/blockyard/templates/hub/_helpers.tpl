{{/* "hub", "interchange": whose pods the hub is in. */}}
{{- define "blockyard.hub.component" -}}
{{- .Values.hub.separate | ternary "hub" "interchange" -}}
{{- end -}}

{{/* The hub's sql sink wants the database of the release: that of the journal, or of externalPostgresql. */}}
{{- define "blockyard.hub.usesDatabase" -}}
{{- if and .Values.hub.enabled .Values.hub.sinks.sql.enabled (not .Values.hub.database.existingSecret) }}yes{{ end -}}
{{- end -}}

{{/* What `python -m blockyard_monitoring` reads. No secret is in it: URL, token and PG* come in the environment. */}}
{{- define "blockyard.hub.settings" -}}
{{- $own := .Values.hub -}}
{{- $sinks := list -}}
{{- if $own.sinks.sql.enabled -}}
{{- $sinks = append $sinks (dict "kind" "sql" "settings" (dict "url" "postgresql://" "keep_days" ($own.sinks.sql.keepDays | float64))) -}}
{{- end -}}
{{- if $own.sinks.prometheus.enabled -}}
{{- $sinks = append $sinks (dict "kind" "prometheus" "settings" (dict "listen" "0.0.0.0:9092" "most_functions" ($own.sinks.prometheus.mostFunctions | int))) -}}
{{- end -}}
{{- /* Clients follow through the interchange in any case; a door of its own is for HTTP. */ -}}
{{- $sinks = append $sinks (dict "kind" "stream" "settings" ($own.sinks.stream.enabled | ternary (dict "listen" "0.0.0.0:9093") dict)) -}}
{{- $interchange := $own.separate | ternary (printf "%s-interchange.%s.svc" (include "blockyard.fullname" .) .Release.Namespace) "127.0.0.1" -}}
{{- $radios := dict
      "host" (printf "%s-hub.%s.svc" (include "blockyard.fullname" .) .Release.Namespace)
      "first_port" ($own.radios.firstPort | int)
      "ports" ($own.radios.ports | int)
      "kinds" $own.radios.kinds -}}
{{- $settings := dict
      "folder" "/var/lib/blockyard-hub"
      "keys" "/etc/blockyard/hub-keys"
      "interchange" (printf "tcp://%s:5557" $interchange)
      "operators" "tcp://0.0.0.0:5558"
      "health" "0.0.0.0:8081"
      "radios" $radios
      "sinks" (concat $sinks $own.sinks.more) -}}
{{ toPrettyJson $settings }}
{{- end -}}

{{/* The container; give $. */}}
{{- define "blockyard.hub.container" -}}
{{- $own := .Values.hub -}}
{{- $env := list -}}
{{- if $own.sinks.sql.enabled -}}
{{- with $own.database.existingSecret -}}
{{- $env = append $env (dict "name" "BLOCKYARD_MONITORING_DATABASE" "valueFrom" (dict "secretKeyRef" (dict "name" . "key" $own.database.key))) -}}
{{- else -}}
{{- $env = include "blockyard.interchange.database" . | fromYamlArray -}}
{{- end -}}
{{- end -}}
{{- if $own.sinks.stream.enabled -}}
{{- $env = append $env (dict "name" "BLOCKYARD_MONITORING_STREAM_TOKEN" "valueFrom" (dict "secretKeyRef" (dict "name" $own.sinks.stream.tokenSecret "key" $own.sinks.stream.tokenKey))) -}}
{{- end -}}
- name: hub
  image: {{ include "blockyard.image" (dict "top" . "image" "interchange") }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  command: [python3, -m, blockyard_monitoring]
  args: [/etc/blockyard/hub-settings/settings.json]
  {{- include "blockyard.containerSecurity" . | nindent 2 }}
  ports:
    - {name: hub-operators, containerPort: 5558}
    - {name: hub-health, containerPort: 8081}
    {{- if $own.sinks.prometheus.enabled }}
    - {name: hub-metrics, containerPort: 9092}
    {{- end }}
    {{- if $own.sinks.stream.enabled }}
    - {name: hub-stream, containerPort: 9093}
    {{- end }}
  {{- with concat $env $own.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $own.separate }}
  readinessProbe: {httpGet: {path: /readyz, port: hub-health}, periodSeconds: 2, timeoutSeconds: 5}
  {{- end }}
  # No other probe in the interchange's pod: what the hub waits for must not keep tasks from their queue.
  livenessProbe: {httpGet: {path: /livez, port: hub-health}, initialDelaySeconds: 30, periodSeconds: 10, timeoutSeconds: 10, failureThreshold: 6}
  resources:
    {{- toYaml $own.resources | nindent 4 }}
  volumeMounts:
    - {name: hub-settings, mountPath: /etc/blockyard/hub-settings, readOnly: true}
    - {name: hub-keys, mountPath: /etc/blockyard/hub-keys, readOnly: true}
    - {name: hub-state, mountPath: /var/lib/blockyard-hub}
    - {name: hub-tmp, mountPath: /tmp}
    {{- with $own.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Its volumes. */}}
{{- define "blockyard.hub.volumes" -}}
{{- $fullname := include "blockyard.fullname" . -}}
- {name: hub-settings, configMap: {name: {{ $fullname }}-hub}}
# Of the interchange's pair for hubs only the public half.
- name: hub-keys
  secret:
    secretName: {{ $fullname }}-interchange-keys
    defaultMode: 0440
    items:
      - {key: hubs.pub, path: hubs.key}
      - {key: hub-default.key, path: hub-default.key}
      - {key: operators.key, path: operators.key}
      - {key: radios.key, path: radios.key}
      - {key: hub-default.pub, path: allowed/hub-default.pub}
      - {key: keeper-operator.pub, path: allowed/keeper-operator.pub}
# Radios that pools were given; when it is lost, the operator knows them.
- {name: hub-state, emptyDir: {sizeLimit: 64Mi}}
- {name: hub-tmp, emptyDir: {sizeLimit: 64Mi}}
{{- with .Values.hub.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Ways in to the hub, for a NetworkPolicy; give (dict "top" $ "operator" PEER "page" PEER "blocks" PEERS "metrics" PEERS). */}}
{{- define "blockyard.hub.ingress" -}}
{{- $own := .top.Values.hub -}}
- ports: [{protocol: TCP, port: hub-operators}]
  from: [{{ toJson .operator }}]
{{- if $own.radios.ports }}
- ports:
    {{- range list "TCP" "UDP" }}
    - {protocol: {{ . }}, port: {{ $own.radios.firstPort }}, endPort: {{ add $own.radios.firstPort $own.radios.ports -1 }}}
    {{- end }}
  from:
    {{- toYaml .blocks | nindent 4 }}
{{- end }}
{{- if $own.sinks.prometheus.enabled }}
- ports: [{protocol: TCP, port: hub-metrics}]
  from:
    {{- toYaml .metrics | nindent 4 }}
{{- end }}
{{- if $own.sinks.stream.enabled }}
- ports: [{protocol: TCP, port: hub-stream}]
  {{- with $own.sinks.stream.from }}
  from:
    {{- toYaml (concat . ($.top.Values.dashboard.enabled | ternary (list $.page) list)) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
