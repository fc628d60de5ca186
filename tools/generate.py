"""Write every generated file anew below a folder: `.` for this checkout, another one to compare (tools/verify)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent, indent

import routing_page
import yaml

from spillway.advisor.tables import BLOCKS
from spillway.api.crd import write as write_crds

ROOT = Path(__file__).resolve().parents[1]
CHART = Path("charts/spillway")
PAGES = {Path("docs/when-to-self-host.md"): BLOCKS, Path("docs/routing.md"): routing_page.BLOCKS}
ARGOCD = Path("manifests/argocd")
MONITORING = Path("manifests/overlays/monitoring")
NAMESPACED = Path("manifests/overlays/namespaced/namespace")
RBAC = ("operator", "gateway", "people")
ROLE = """---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {name}
  labels:
{labels}rules:
{rules}
"""
ROW = "| `{key}` | `{default}` | {text} |"
TABLE = """<!-- From values.yaml by `make generate`. -->

| value | default | |
| --- | --- | --- |
{rows}

"""
CRD = """{{{{- /* Copied from crds/ by `make generate`; do not edit. */ -}}}}
{{{{- if .Values.crds.enabled }}}}
{body}{{{{- end }}}}
"""
CRD_METADATA = """
metadata:
  {{- if .Values.crds.keep }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
  labels: {{- include "spillway.labels" (dict "root" $) | nindent 4 }}
"""
RULES = """# From charts/spillway/files/rules.yaml by `make generate`; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: spillway
  namespace: spillway-system
  labels:
    app.kubernetes.io/name: spillway
spec:
{rules}"""
ARGOCD_CM = """# What Argo CD has to know of an LLMDeployment, from health.lua by `make generate`; install it with
#   kubectl -n argocd patch configmap argocd-cm --patch-file manifests/argocd/argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
  resource.customizations.health.spillway.dev_LLMDeployment: |
{script}"""


def main(below: Path) -> None:
    """Write the CRDs, the chart's part of them, manifests/base and values.yaml, and what docs and Argo CD need."""
    for name in ("crds", CHART / "templates/crds"):
        (below / name).mkdir(parents=True, exist_ok=True)
    for path in write_crds(below / "crds"):
        (below / CHART / "templates/crds" / path.name).write_text(chart_crd(path.read_text()))
    (below / CHART / "templates/_rules.tpl").write_text("\n".join(chart_rules()))
    head, tail = re.split(
        r"(?s)(?<=<!-- values -->\n).*(?=<!-- end of values -->)", (ROOT / CHART / "README.md").read_text()
    )
    (below / CHART / "README.md").write_text(head + TABLE.format(rows="\n".join(value_rows())) + tail)
    (below / "docs").mkdir(parents=True, exist_ok=True)
    for page, blocks in PAGES.items():
        (below / page).write_text(filled(page, blocks))
    (below / ARGOCD).mkdir(parents=True, exist_ok=True)
    script = indent((ROOT / ARGOCD / "health.lua").read_text(), "    ")
    (below / ARGOCD / "argocd-cm.yaml").write_text(ARGOCD_CM.format(script=script))
    (below / NAMESPACED).mkdir(parents=True, exist_ok=True)
    (below / NAMESPACED / "roles.yaml").write_text("".join(namespace_roles()))
    (below / MONITORING).mkdir(parents=True, exist_ok=True)
    (below / MONITORING / "rules.yaml").write_text(RULES.format(rules=indent(chart_file("rules.yaml"), "  ")))
    (below / MONITORING / "dashboard.json").write_text(chart_file("dashboard.json"))


def filled(path: Path, blocks: Mapping[str, Callable[[], str]]) -> str:
    """The page with each of these in its block: <!-- name --> to <!-- end -->."""
    page = (ROOT / path).read_text()
    for name, write in blocks.items():
        block = f"<!-- {name} -->\n{write()}<!-- end -->"
        page, found = re.subn(rf"(?s)<!-- {name} -->\n.*?<!-- end -->", lambda _, block=block: block, page)
        if found != 1:
            sys.exit(f"{path}: block {name} is there {found} times")
    return page


def chart_file(name: str) -> str:
    """A file of the chart that is the same without it."""
    return (ROOT / CHART / "files" / name).read_text()


def chart_crd(text: str) -> str:
    """A CRD as a template, if wanted, and kept if wanted: what stands in a chart's folder crds/ Helm never upgrades."""
    body = text.partition("\n")[2].replace("{{", '{{ "{{" }}')
    return CRD.format(body=body.replace("\nmetadata:\n", CRD_METADATA, 1))


def cluster_roles() -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Each ClusterRole of manifests/base: its name, its labels, and its rules as they are written, comments and all."""
    for part in RBAC:
        for document in (ROOT / f"manifests/base/{part}-rbac.yaml").read_text().split("\n---\n"):
            if "\nkind: ClusterRole\n" in f"\n{document}":
                metadata = yaml.safe_load(document)["metadata"]
                yield metadata["name"], metadata["labels"], document.partition("\nrules:\n")[2].rstrip("\n")


def chart_rules() -> Iterator[str]:
    """The rules of each ClusterRole as a named template."""
    yield "{{/* Copied from manifests/base by `make generate`; do not edit. */}}"
    for name, _, rules in cluster_roles():
        yield f'{{{{- define "spillway.rules.{name}" -}}}}\n{dedent(rules)}\n{{{{- end }}}}\n'


def namespace_roles() -> Iterator[str]:
    """The same as Roles of one namespace, without what no Role can give and without what gathers ClusterRoles."""
    yield "# The ClusterRoles of manifests/base as Roles of one namespace, by `make generate`; do not edit.\n"
    for name, labels, rules in cluster_roles():
        if name != "spillway-operator-cluster":
            own = "".join(f"    {key}: {value}\n" for key, value in labels.items() if "aggregate-to" not in key)
            yield ROLE.format(name=name, labels=own, rules=rules.replace("[clusterroles]", "[roles]"))


def value_rows() -> Iterator[str]:
    """A row for each key of values.yaml that a line of comment stands over."""
    text = (ROOT / CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        if said := re.fullmatch(r" *# (.*)", line):
            comment = said[1]
        elif key := re.match(r"( *)([\w.-]+):", line):
            path[len(key[1]) // 2 :] = [key[2]]
            if comment:
                yield ROW.format(key=".".join(path), default=shown(path, values), text=comment)
            comment = ""
        else:
            comment = ""


def shown(path: list[str], values: object) -> str:
    """The default at a path of the values, on one line; of the profiles their names."""
    for key in path:
        values = values[key]  # type: ignore[index] # the path was read from the same file
    if path == ["profiles"]:
        return ", ".join(values)  # type: ignore[arg-type] # a mapping by name
    return yaml.safe_dump(values, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
