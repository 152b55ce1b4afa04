{{/* A PodDisruptionBudget; give (dict "top" $ "component" NAME). */}}
{{- define "blockyard.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "blockyard.metadata" (dict "top" .top "component" .component "name" (printf "%s-%s" (include "blockyard.fullname" .top) .component)) | nindent 2 }}
spec:
  maxUnavailable: {{ (index .top.Values .component).podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "blockyard.selector" . | nindent 6 }}
{{- end -}}

{{/* A ServiceAccount, unless one that exists is to be used. */}}
{{- define "blockyard.account" -}}
{{- $own := (index .top.Values .component).serviceAccount -}}
{{- if $own.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "blockyard.metadata" (dict "top" .top "component" .component "name" (include "blockyard.serviceAccount" .) "annotations" $own.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}

{{/* Whose a definition is that is there and not this release's: NAMESPACE/RELEASE, or "nobody"; "" when it is ours to bring. */}}
{{- define "blockyard.crds.owner" -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name -}}
{{- if $there -}}
{{- $notes := $there.metadata.annotations | default dict -}}
{{- $name := index $notes "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $notes "meta.helm.sh/release-namespace" | default "" -}}
{{- if not (and (eq $name .top.Release.Name) (eq $namespace .top.Release.Namespace)) -}}
{{- empty $name | ternary "nobody" (printf "%s/%s" $namespace $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
