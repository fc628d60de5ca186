from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from crd_cases import DEPLOYMENT, OLLAMA_SPEC, REMOVED, changed
from spillway.api.v1alpha1 import LLMDeployment, parse_deployment
from spillway.gateway.peers import GATEWAY_PODS, PORT_NAME
from spillway.gateway.settings import GatewaySettings
from spillway.render import ApiServer, RenderSettings, render_deployment, render_namespace
from spillway.render.namespace import gateway_arguments
from spillway.render.network import PEERS_PORT
from spillway.sizing.plan import plan_deployment
from spillway.sizing.profiles import default_profiles

SETTINGS = RenderSettings(image="ghcr.io/spillway-dev/spillway:test")
T = "spec.fallback.targets.0"
EPHEMERAL = {"spec.cache": {"mode": "Ephemeral"}}


def deployment(change: dict[str, Any] | None = None) -> LLMDeployment:
    return parse_deployment(changed(changed(DEPLOYMENT, {"metadata.namespace": "models", **EPHEMERAL}), change or {}))


def policies(*of: LLMDeployment, settings: RenderSettings = SETTINGS, servers: tuple[ApiServer, ...] = ()) -> dict:
    made: tuple[Any, ...] = render_namespace("models", of or [deployment()], settings, servers)
    return {it["metadata"]["name"]: it["spec"] for it in made if it["kind"] == "NetworkPolicy"}


def pod_labels(of: LLMDeployment) -> dict[str, str]:
    made: tuple[Any, ...] = render_deployment(of, plan_deployment(of, default_profiles()), SETTINGS)
    (engine,) = [it for it in made if it["kind"] == "Deployment"]
    return engine["spec"]["template"]["metadata"]["labels"]


def allows(rules: list[dict[str, Any]], address: str, port: int) -> bool:
    """Whether a rule lets TCP through to an address outside the cluster."""
    here = ip_address(address)

    def matches(peer: dict[str, Any]) -> bool:
        block = peer.get("ipBlock", {"cidr": "255.255.255.255/32"})
        inside = here.version == ip_network(block["cidr"]).version and here in ip_network(block["cidr"])
        return inside and not any(here in ip_network(hole) for hole in block.get("except", ()))

    return any(
        {"protocol": "TCP", "port": port} in rule["ports"] and ("to" not in rule or any(map(matches, rule["to"])))
        for rule in rules
    )


def test_engines_take_requests_from_their_own_gateway_alone_and_call_nobody():
    spec = policies()["spillway-engine"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert peer.keys() == {"podSelector"}  # without a namespaceSelector: of this namespace
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    assert [port["port"] for port in rule["ports"]] == [8000, 11434]
    assert spec["podSelector"]["matchLabels"].items() <= pod_labels(deployment()).items()


@pytest.mark.parametrize(
    ("settings", "selector"),
    [
        ({}, {}),
        (
            {"dns_namespaces": ("openshift-dns", "kube-system", "kube-system")},
            {
                "matchExpressions": [
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "In",
                        "values": ["kube-system", "openshift-dns"],
                    }
                ]
            },
        ),
    ],
    ids=["unless they are named", "named"],
)
def test_names_are_looked_up_in_any_namespace_or_in_those_of_dns(settings: dict[str, Any], selector: dict[str, Any]):
    made = policies(deployment(), deployment({"spec.cache": {}}), settings=RenderSettings(image="x", **settings))
    assert made.keys() == {"spillway-gateway", "spillway-engine", "spillway-engine-egress", "spillway-model"}
    for name in made.keys() - {"spillway-engine"}:
        (rule,) = [rule for rule in made[name]["egress"] if {"protocol": "UDP", "port": 53} in rule["ports"]]
        assert rule["to"] == [{"namespaceSelector": selector}, {"ipBlock": {"cidr": "169.254.20.10/32"}}]


def test_namespaces_that_monitor_reach_engines_too():
    spec = policies(settings=RenderSettings(image="x", monitoring_namespaces=("prometheus", "agents")))
    (rule,) = spec["spillway-engine"]["ingress"]
    assert rule["from"][1]["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["agents", "prometheus"]}
    ]


@pytest.mark.parametrize(
    ("change", "goes_out"),
    [
        ({}, True),
        ({"spec.cache": REMOVED}, False),
        ({"spec.cache": REMOVED, "spec.model.uri": "pvc://store/qwen2.5-7b"}, False),
        ({"spec": OLLAMA_SPEC | {"cache": {"mode": "Ephemeral"}}}, True),
        ({"spec": OLLAMA_SPEC}, False),
        ({"spec": OLLAMA_SPEC, "spec.model.uri": "pvc://store/qwen2.5-7b.gguf"}, False),
    ],
    ids=["hub", "cache", "claim", "registry", "registry's cache", "file"],
)
def test_only_engines_that_fetch_their_model_go_out_and_only_for_https(change: dict[str, Any], goes_out: bool):
    made = deployment(change)
    assert ("spillway.dev/egress" in pod_labels(made)) is goes_out
    found = policies(made).get("spillway-engine-egress")
    assert (found is not None) is goes_out
    if found:
        assert found["podSelector"]["matchLabels"].items() <= pod_labels(made).items()
        assert allows(found["egress"], "93.184.216.34", 443)
        assert not allows(found["egress"], "93.184.216.34", 80)
        assert not allows(found["egress"], "10.96.0.1", 443)


@pytest.mark.parametrize(
    "private", ["10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1"]
)
def test_a_gateway_reaches_targets_at_public_addresses_alone(private: str):
    rules = policies(servers=(ApiServer("10.9.0.1", 6443),))["spillway-gateway"]["egress"]
    assert allows(rules, "104.18.7.192", 443)
    assert allows(rules, "2606:4700::6812", 443)
    assert not allows(rules, private, 443)


def test_without_an_enabled_fallback_a_gateway_reaches_nothing_outside():
    made = deployment({"spec.fallback.mode": "Disabled"})
    rules = policies(made, servers=(ApiServer("10.9.0.1", 6443),))["spillway-gateway"]["egress"]
    assert not allows(rules, "104.18.7.192", 443)


def test_the_administrators_networks_replace_the_public_ones_and_ports_are_those_of_targets():
    compatible = {f"{T}.provider": "OpenAICompatible", f"{T}.baseURL": "https://llm.corp.example.com:8443/v1"}
    settings = RenderSettings(image="x", egress_cidrs=("10.20.0.0/16",))
    rules = policies(deployment(compatible), settings=settings, servers=(ApiServer("10.9.0.1", 6443),))
    egress = rules["spillway-gateway"]["egress"]
    assert allows(egress, "10.20.3.4", 8443)
    assert not allows(egress, "10.20.3.4", 443)
    assert not allows(egress, "104.18.7.192", 8443)


@pytest.mark.parametrize(
    ("settings", "proxy"),
    [
        ({"egress_proxy_url": "http://10.0.0.9:3128"}, "10.0.0.9"),
        ({"egress_proxy_url": "http://10.0.0.9:3128", "egress_cidrs": ("203.0.113.0/24",)}, "10.0.0.9"),
        ({"egress_proxy_url": "http://[fd00::9]:3128"}, "fd00::9"),
        ({"egress_proxy_url": "http://proxy.corp.example:3128", "egress_cidrs": ("10.0.0.8/30",)}, "10.0.0.9"),
    ],
)
def test_behind_a_proxy_a_gateway_reaches_the_proxy_and_nothing_else_outside(settings, proxy):
    made = policies(settings=RenderSettings(image="x", **settings), servers=(ApiServer("10.9.0.1", 6443),))
    egress = made["spillway-gateway"]["egress"]
    assert allows(egress, proxy, 3128)
    assert not allows(egress, proxy, 443)
    assert not allows(egress, "104.18.7.192", 443)
    assert not allows(egress, "104.18.7.192", 3128)
    assert not allows(egress, "203.0.113.7", 3128)


def test_a_gateway_reaches_the_api_servers_that_are_known_or_any_on_their_usual_ports():
    known = policies(
        deployment({"spec.fallback.mode": "Disabled"}),
        servers=(ApiServer("10.9.0.1", 6443), ApiServer("fd00::9", 6443)),
    )["spillway-gateway"]["egress"]
    assert allows(known, "10.9.0.1", 6443)
    assert allows(known, "fd00::9", 6443)
    assert not allows(known, "10.9.0.2", 6443)
    unknown = policies(deployment({"spec.fallback.mode": "Disabled"}))["spillway-gateway"]["egress"]
    assert allows(unknown, "10.9.0.2", 6443)
    assert allows(unknown, "10.96.0.1", 443)


def test_a_gateway_reaches_engines_and_names():
    rules = policies()["spillway-gateway"]["egress"]
    engines = [rule for rule in rules if "podSelector" in rule.get("to", [{}])[0]]
    assert [port["port"] for port in engines[0]["ports"]] == [8000, 11434]
    assert {"protocol": "UDP", "port": 53} in rules[0]["ports"]


CACHED = {"spec.cache": {"mode": "PersistentVolume"}}


def test_only_the_download_of_a_model_that_is_kept_goes_out_and_nobody_comes_in():
    assert "spillway-model" not in policies()
    made = policies(deployment(CACHED))
    assert "spillway-engine-egress" not in made, "the engine finds the model on its claim"
    spec = made["spillway-model"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    rendered: tuple[Any, ...] = render_deployment(
        deployment(CACHED), plan_deployment(deployment(CACHED), default_profiles()), SETTINGS
    )
    (job,) = [it for it in rendered if it["kind"] == "Job"]
    selected = spec["podSelector"]["matchLabels"]
    assert selected.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert not selected.items() <= pod_labels(deployment(CACHED)).items()


@pytest.mark.parametrize(
    ("settings", "address", "port", "allowed"),
    [
        ({}, "1.1.1.1", 443, True),
        ({}, "1.1.1.1", 80, False),
        ({}, "10.1.2.3", 443, False),
        ({}, "169.254.169.254", 80, False),
        ({"s3_endpoint": "http://minio.storage:9000"}, "10.1.2.3", 9000, True),
        ({"hub_endpoint": "https://hub.corp.example.com"}, "10.1.2.3", 443, True),
        ({"hub_endpoint": "http://hub.corp.example.com"}, "10.1.2.3", 80, True),
    ],
)
def test_a_download_reaches_public_addresses_and_the_administrators_own_hub(settings, address, port, allowed):
    made = policies(deployment(CACHED), settings=RenderSettings(image="spillway", **settings))
    assert allows(made["spillway-model"]["egress"], address, port) is allowed


def test_a_gateway_takes_requests_from_anyone_and_what_is_for_peers_from_peers_alone():
    spec = policies()["spillway-gateway"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    clients, peers = spec["ingress"]
    assert (clients.keys(), [port["port"] for port in clients["ports"]]) == ({"ports"}, [8080])
    assert [port["port"] for port in peers["ports"]] == [8082]
    (peer,) = peers["from"]
    assert peer == {"podSelector": spec["podSelector"]}  # without a namespaceSelector: of this namespace
    assert {"to": [peer], "ports": peers["ports"]} in spec["egress"]


def test_the_peers_port_is_where_gateways_look_for_it_and_no_service_leads_there():
    made: tuple[Any, ...] = render_namespace("models", [deployment()], SETTINGS)
    (gateway,) = [it for it in made if it["kind"] == "Deployment"]
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    assert {"name": PORT_NAME, "containerPort": PEERS_PORT, "protocol": "TCP"} in container["ports"]
    assert GatewaySettings.__dataclass_fields__["peers_port"].default == PEERS_PORT
    assert all(port["targetPort"] == "http" for it in made if it["kind"] == "Service" for port in it["spec"]["ports"])
    assert parse_labels(GATEWAY_PODS).items() <= gateway["spec"]["template"]["metadata"]["labels"].items()


def parse_labels(selector: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in selector.split(","))


PROXY = {"egress_proxy_url": "http://10.0.0.9:3128"}


def test_behind_a_proxy_a_download_reaches_it_in_place_of_public_addresses():
    egress = policies(deployment(CACHED), settings=RenderSettings(image="x", **PROXY))["spillway-model"]["egress"]
    assert allows(egress, "10.0.0.9", 3128)
    assert not allows(egress, "1.1.1.1", 443)


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ({}, {}, None),
        ({}, PROXY, "http://10.0.0.9:3128"),
        ({}, PROXY | {"hub_endpoint": "https://hub.corp.example.com"}, None),
        ({"spec": OLLAMA_SPEC | {"cache": {"mode": "PersistentVolume"}}}, PROXY, "http://10.0.0.9:3128"),
    ],
    ids=["no proxy", "the public hub", "a hub of one's own", "Ollama's registry"],
)
def test_a_download_is_told_of_the_proxy_unless_its_hub_is_the_administrators_own(change, settings, told):
    made = deployment(CACHED | change)
    with_settings = RenderSettings(image="x", **settings)
    rendered: tuple[Any, ...] = render_deployment(made, plan_deployment(made, default_profiles()), with_settings)
    (job,) = [it for it in rendered if it["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        variables = {it["name"]: it.get("value") for it in container["env"]}
        assert variables.get("HTTPS_PROXY") == told


FETCHING = pytest.mark.parametrize(
    "change", [{}, {"spec": OLLAMA_SPEC | {"cache": {"mode": "Ephemeral"}}}], ids=["vLLM", "Ollama"]
)


def proxies(of: LLMDeployment, settings: dict[str, Any]) -> list[str]:
    """The proxies that the containers of the engine's pod are told of."""
    made: tuple[Any, ...] = render_deployment(
        of, plan_deployment(of, default_profiles()), RenderSettings(image="x", **settings)
    )
    (engine,) = [it for it in made if it["kind"] == "Deployment"]
    pod = engine["spec"]["template"]["spec"]
    containers = (*pod.get("initContainers", ())[:1], *pod["containers"][: 0 if "initContainers" in pod else 1])
    return [it["value"] for one in containers for it in one["env"] if it["name"] == "HTTPS_PROXY"]


@FETCHING
def test_behind_a_proxy_an_engine_that_fetches_its_model_reaches_that_in_place_of_public_addresses(change):
    made = deployment(change)
    egress = policies(made, settings=RenderSettings(image="x", **PROXY))["spillway-engine-egress"]["egress"]
    assert allows(egress, "10.0.0.9", 3128)
    assert not allows(egress, "1.1.1.1", 443)
    assert (proxies(made, PROXY), proxies(made, {})) == (["http://10.0.0.9:3128"], [])


@FETCHING
def test_a_proxy_that_the_object_states_itself_is_stated_once(change):
    own = [{"name": "HTTPS_PROXY", "value": "http://own.corp.example:3128"}]
    assert proxies(deployment(change | {"spec.engine.env": own}), PROXY) == ["http://own.corp.example:3128"]


def test_an_engine_that_fetches_nothing_is_told_of_no_proxy():
    assert proxies(deployment(CACHED), PROXY) == []


def test_a_gateway_is_told_where_clouds_are_and_through_what():
    settings = RenderSettings(image="x", egress_cidrs=("10.20.0.0/16", "10.0.0.8/30"), **PROXY)
    assert gateway_arguments(settings)[-2:] == [
        "--egress-cidrs=10.0.0.8/30,10.20.0.0/16",
        "--egress-proxy-url=http://10.0.0.9:3128",
    ]
    assert not [argument for argument in gateway_arguments(RenderSettings(image="x")) if "egress" in argument]
