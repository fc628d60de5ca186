{{/* Labels of one component. The names of what is installed are fixed: one operator in a namespace, and one set of ClusterRoles in a cluster. */}}
{{- define "spillway.labels" -}}
app.kubernetes.io/name: spillway
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels of what is for the Prometheus Operator, and the namespaces in which it is to look for pods. */}}
{{- define "spillway.monitoring.labels" -}}
{{- merge (include "spillway.labels" (dict "root" $) | fromYaml) .Values.monitoring.labels | toYaml -}}
{{- end }}

{{- define "spillway.monitoring.namespaces" -}}
{{- if .Values.watchNamespaces -}}
matchNames: {{- toYaml .Values.watchNamespaces | nindent 2 }}
{{- else -}}
any: true
{{- end -}}
{{- end }}

{{- define "spillway.selectorLabels" -}}
app.kubernetes.io/name: spillway
app.kubernetes.io/component: operator
{{- end }}

{{/* Where the operator runs, and the pod of `helm test`. */}}
{{- define "spillway.scheduling" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.Values.operator $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spillway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The profiles as the operator's file has them: a list, each with its name; one that is null is left out. */}}
{{- define "spillway.profiles" -}}
{{- $listed := list -}}
{{- range $name, $facts := .Values.profiles -}}
{{- if $facts -}}
{{- $listed = append $listed (merge (dict "name" $name) $facts) -}}
{{- end -}}
{{- end -}}
{{- toYaml $listed -}}
{{- end }}

{{/* What gateways' pods are told beyond the operator's own defaults, as JSON; empty where nothing is. */}}
{{- define "spillway.gatewayPod" -}}
{{- $stated := dict -}}
{{- range $key, $value := omit .Values.gateway "replicas" -}}
{{- if $value -}}
{{- $_ := set $stated $key $value -}}
{{- end -}}
{{- end -}}
{{- if $stated -}}
{{- toJson $stated -}}
{{- end -}}
{{- end }}
