{{/* Copied from manifests/base by `make generate`; do not edit. */}}
{{- define "spillway.rules.spillway-operator" -}}
- apiGroups: [spillway.dev]
  resources: [llmdeployments]
  verbs: [get, list, watch]
- apiGroups: [spillway.dev]
  resources: [llmdeployments/status]
  verbs: [get, patch]
# To own a child that keeps its parent until it is gone (blockOwnerDeletion), where the cluster enforces it.
- apiGroups: [spillway.dev]
  resources: [llmdeployments/finalizers]
  verbs: [update]
- apiGroups: [spillway.dev]
  resources: [llmledgers]
  verbs: [get, list, watch, create, patch, delete]
# Server-side apply is patch, and create where the object is new.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# The download of a model; its claim is never deleted by the operator.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# What a namespace's gateway has beside these goes by names of ours: nobody else's is changed. What is listed or
# created cannot be limited by name.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [list, create]
- apiGroups: [""]
  resources: [serviceaccounts]
  resourceNames: [spillway-gateway]
  verbs: [patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, create]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  resourceNames: [spillway-gateway, spillway-engine, spillway-engine-egress, spillway-model]
  verbs: [patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  resourceNames: [spillway-gateway]
  verbs: [patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [list, create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  resourceNames: [spillway-gateway, spillway-gateway-namespaced]
  verbs: [patch, delete]
# It hands the gateways this one role, whose rights it does not all hold itself.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [spillway-gateway]
  verbs: [bind]
# Why a pod does not start.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The label spillway.dev/may-leave.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "spillway.rules.spillway-operator-cluster" -}}
# A changed label spillway.dev/may-leave at once, not at the next resync.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# The API servers' addresses, which gateways may reach; without it they may reach any on the usual ports.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: [kubernetes]
  verbs: [get]
# The choices, told where a claim names a storage class that does not exist.
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list]
{{- end }}

{{- define "spillway.rules.spillway-gateway" -}}
- apiGroups: [spillway.dev]
  resources: [llmdeployments, llmledgers]
  verbs: [get, list, watch]
- apiGroups: [spillway.dev]
  resources: [llmledgers/status]
  verbs: [get, patch, update]
# Where the engines are, and whether they are ready.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The label spillway.dev/may-leave of its own namespace. A RoleBinding allows that one by its name, and no list or watch:
# those are of the whole cluster, even narrowed to one name.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- define "spillway.rules.spillway-view" -}}
- apiGroups: [spillway.dev]
  resources: [llmdeployments, llmledgers]
  verbs: [get, list, watch]
{{- end }}

{{- define "spillway.rules.spillway-edit" -}}
- apiGroups: [spillway.dev]
  resources: [llmdeployments, llmdeployments/scale]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
{{- end }}
