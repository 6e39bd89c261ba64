{{- define "pgmend.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgmend.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "pgmend.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "pgmend.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pgmend.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pgmend.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgmend.labels" -}}
{{ include "pgmend.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pgmend.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "pgmend.secretName" -}}
{{- if .Values.database.existingSecret }}
{{- if .Values.database.url }}{{ fail "give one of database.existingSecret and database.url, not both" }}{{ end }}
{{- .Values.database.existingSecret }}
{{- else }}
{{- if not .Values.database.url }}{{ fail "no server is known: give database.existingSecret or database.url" }}{{ end }}
{{- include "pgmend.fullname" . }}
{{- end }}
{{- end }}

{{- define "pgmend.settings" -}}
{{- range $section := list "listen" "http" }}
{{- if hasKey (default dict (get $.Values.settings $section)) "port" }}{{ fail (printf "settings.%s.port: the containers have ports of their own, and applications see service.port" $section) }}{{ end }}
{{- end }}
{{- if hasKey .Values.settings "shutdown" }}{{ fail "settings.shutdown: give shutdown.linger, lingerQuiet and drainTimeout, of which the grace period is made" }}{{ end }}
{{- $inside := dict "listen" (dict "host" "*") "http" (dict "host" "*") "workers" "auto" "log" (dict "format" "json") }}
{{- $times := dict }}
{{- range $name, $value := dict "linger" .Values.shutdown.linger "linger_quiet" .Values.shutdown.lingerQuiet "drain_timeout" .Values.shutdown.drainTimeout }}
{{- $_ := set $times $name (printf "%ds" (int $value)) }}
{{- end }}
{{- $shutdown := dict "shutdown" $times }}
{{- toYaml (mergeOverwrite $inside $shutdown (deepCopy .Values.settings)) }}
{{- end }}

{{- define "pgmend.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
