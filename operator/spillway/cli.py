"""The command line: parse, call, print. What a command does stands in its package, imported only when it is used."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from spillway import __version__
from spillway.errors import SpillwayError
from spillway.gateway import options
from spillway.settings import HUB_ENDPOINT, S3_ENDPOINT

app = typer.Typer(
    name="spillway",
    help="Self-hosted LLMs on Kubernetes that spill to cloud APIs: within a budget, and never what is sensitive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an error that Spillway foresaw is one message and exit code 1, without a trace."""
    try:
        app()
    except SpillwayError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spillway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: spillway operator --namespaces team-a,team-b --allowed-hosts api.openai.com")
def operator(
    image: Annotated[str, typer.Option(help="Image of the gateways (SPILLWAY_IMAGE).")] = "",
    namespaces: Annotated[
        str, typer.Option(help="Namespaces to watch, by commas; none: all (SPILLWAY_NAMESPACES).")
    ] = "",
    profiles_file: Annotated[str, typer.Option(help="Accelerator profiles, YAML (SPILLWAY_PROFILES_FILE).")] = "",
    allowed_hosts: Annotated[
        str, typer.Option(help="Cloud hosts that targets may name (SPILLWAY_ALLOWED_HOSTS).")
    ] = "",
    unlabelled_namespace_may_leave: Annotated[
        str, typer.Option(help="None, Public or Internal (SPILLWAY_UNLABELLED_NAMESPACE_MAY_LEAVE).")
    ] = "",
    gateway_replicas: Annotated[str, typer.Option(help="Gateway pods a namespace (SPILLWAY_GATEWAY_REPLICAS).")] = "",
    health_port: Annotated[str, typer.Option(help="Port of /healthz; 0: none (SPILLWAY_HEALTH_PORT).")] = "",
    log_format: Annotated[str, typer.Option(help="Auto, JSON or Text (SPILLWAY_LOG_FORMAT).")] = "",
) -> None:
    """Reconcile LLMDeployments: size, render, apply, observe, report. Runs until SIGTERM."""
    from spillway.controller.start import run
    from spillway.settings import read_settings

    options = {
        "image": image,
        "namespaces": namespaces,
        "profiles_file": profiles_file,
        "allowed_hosts": allowed_hosts,
        "unlabelled_namespace_may_leave": unlabelled_namespace_may_leave,
        "gateway_replicas": gateway_replicas,
        "health_port": health_port,
        "log_format": log_format,
    }
    run(read_settings(os.environ, options))


@app.command(
    epilog="Example: spillway gateway --file deployment.yaml --endpoint http://127.0.0.1:8000 "
    "--credential-env openai/api-key=OPENAI_API_KEY (docs/standalone.md)"
)
def gateway(
    file: options.Files = None,
    endpoint: options.Endpoints = None,
    credential_env: options.CredentialVariables = None,
    ollama_slots: options.OllamaSlots = 1,
    state_dir: options.StateDir = None,
    audit_log: options.AuditLog = None,
    namespace: options.Namespace = "",
    name: options.Name = "",
    service_account_dir: options.ServiceAccountDir = Path("/var/run/secrets/kubernetes.io/serviceaccount"),
    credentials_dir: options.CredentialsDir = "",
    ca_dir: options.CaDir = "",
    journal_dir: options.JournalDir = None,
    allowed_hosts: options.AllowedHosts = "",
    egress_cidrs: options.EgressCidrs = "",
    egress_proxy_url: options.EgressProxyUrl = "",
    unlabelled_namespace_may_leave: options.MayLeave = "Internal",
    host: options.Host = "",
    port: options.Port = 8080,
    peers_port: options.PeersPort = 8082,
) -> None:
    """Serve models on an OpenAI-compatible API: local, wait, spill or refuse. Runs until SIGTERM.

    In a cluster, those of a namespace; with --file, those of files, without Kubernetes.
    """
    options.run(
        options.Given(
            namespace=namespace,
            name=name,
            service_account_dir=service_account_dir,
            credentials_dir=credentials_dir,
            ca_dir=ca_dir,
            journal_dir=journal_dir,
            allowed_hosts=allowed_hosts,
            egress_cidrs=egress_cidrs,
            egress_proxy_url=egress_proxy_url,
            may_leave=unlabelled_namespace_may_leave,
            host=host,
            port=port,
            peers_port=peers_port,
            files=file,
            endpoints=endpoint,
            credential_variables=credential_env,
            ollama_slots=ollama_slots,
            state_dir=state_dir,
            audit_log=audit_log,
        )
    )


@app.command(epilog="Example: spillway fetch hf://Qwen/Qwen2.5-7B-Instruct-AWQ --directory /models/qwen-7b")
def fetch(
    uri: Annotated[str, typer.Argument(help="hf://organisation/name or s3://bucket/folder.")],
    directory: Annotated[Path, typer.Option(help="Folder that the model's files go to; resumed if it holds some.")],
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of a repository; none: main.")] = "",
    until_percent: Annotated[
        int, typer.Option(min=1, max=100, help="End when so much has arrived; 100: all of it, verified.")
    ] = 100,
    secret_file: Annotated[
        Path | None, typer.Option(help="File with the hub's token, or an AWS credentials file.")
    ] = None,
    hub_endpoint: Annotated[str, typer.Option(envvar="HF_ENDPOINT", help="The hub, or a mirror of it.")] = HUB_ENDPOINT,
    s3_endpoint: Annotated[
        str, typer.Option(envvar="AWS_ENDPOINT_URL_S3", help="The store that speaks S3.")
    ] = S3_ENDPOINT,
    termination_message: Annotated[Path | None, typer.Option(help="File for the last word, JSON.")] = None,
) -> None:
    """Download a model: resumed, verified, marked as complete. JSON lines on stdout, the last one the outcome.

    Exit codes: 10 Unauthorized, 11 NotFound, 12 SecretNotFound, 13 DiskFull, 14 ConnectionLost, 15 ChecksumMismatch.
    """
    from spillway.fetch.start import FetchSettings, run_to_exit

    run_to_exit(
        FetchSettings(
            uri=uri,
            directory=directory,
            revision=revision,
            until_percent=until_percent,
            secret_file=secret_file,
            hub_endpoint=hub_endpoint,
            s3_endpoint=s3_endpoint,
            termination_message=termination_message,
        )
    )


@app.command(epilog="Example: spillway plan manifests/samples/chat.yaml --requests 8")
def plan(
    file: Annotated[Path, typer.Argument(help="YAML with LLMDeployments; -: standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="table; json: sizes in bytes; yaml: the manifests.")
    ] = "table",
    manifests: Annotated[bool, typer.Option("--manifests", help="Print the manifests after the table.")] = False,
    requests: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests of full length for which there must be room at once.")
    ] = 1,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Of objects that state none.")] = "default",
    profiles_file: Annotated[str, typer.Option(help="Accelerator profiles, YAML (SPILLWAY_PROFILES_FILE).")] = "",
) -> None:
    """Show what an LLMDeployment comes to: GPUs, every term of their memory, the cache left, the cost. No cluster.

    Exit code 1 when a field cannot be used, or when a model does not fit and its memoryCheck is Enforce.
    """
    from spillway.preview.start import PreviewSettings, read_output, run
    from spillway.settings import read_settings

    run(
        PreviewSettings(
            path=file,
            output=read_output(output),
            manifests=manifests,
            namespace=namespace,
            requests=requests,
            operator=read_settings(os.environ, {"profiles_file": profiles_file}),
        )
    )


@app.command(epilog="Example: echo 'tokensPerMonth: 2B' | spillway advise --needs -")
def advise(
    needs: Annotated[
        Path | None, typer.Option(help="YAML of what is needed; -: standard input (docs/when-to-self-host.md).")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="A published case: startup, healthcare, ecommerce or trading.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Traffic that was: audit.jsonl[.gz], -, metrics.txt, http://prometheus:9090, http://.../metrics.",
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0.001, max=3650, help="Days that metrics are of; Prometheus: its last 30 if absent."),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="YAML or JSON with prices of your own.")] = None,
    setups: Annotated[Path | None, typer.Option(help="YAML or JSON with ways to host of your own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs; dollars are strings.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file as well.")] = None,
) -> None:
    """Advise whether to use an API, to self-host, or both, with every reason and figure. Asks if it is told nothing."""
    from datetime import UTC, datetime

    from spillway.report.start import AdviseSettings, run

    run(
        AdviseSettings(
            needs=needs,
            scenario=scenario,
            source=source,
            days=days,
            prices=prices,
            setups=setups,
            json=json,
            html=html,
            today=datetime.now(UTC).date(),
        )
    )


@app.command(epilog="Example: spillway crds | kubectl apply --server-side -f -")
def crds(
    write: Annotated[
        Path | None, typer.Option(help="Write one file a kind into this folder instead of printing.")
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions."""
    from spillway.api.crd import render_crds
    from spillway.api.crd import write as write_crds

    if write is not None:
        for path in write_crds(write):
            typer.echo(path)
        return
    typer.echo("---\n".join(render_crds().values()), nl=False)


@app.command(epilog="Example: spillway demo --seconds 60")
def demo(
    seconds: Annotated[int, typer.Option(min=5, max=3600, help="Length of the burst of requests.")] = 120,
    budget: Annotated[
        str | None, typer.Option(help="Dollars that the cloud may cost; default: a cent a second of the burst.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is random in the burst.")] = 1,
) -> None:
    """Show the main job on this machine: a real control plane, operator, gateway and client; simulated GPUs and cloud.

    Stays up on a terminal until Ctrl-C; elsewhere it ends by itself, with exit code 0 only if every claim held.
    """
    from spillway.simulator.demo.run import run_demo

    limit = Decimal(budget) if budget is not None else Decimal(seconds) / 100
    sys.exit(run_demo(seconds, limit, seed))


if __name__ == "__main__":
    main()
