from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from spillway.errors import InvalidSetting
from spillway.gateway_pod import GatewayPod
from spillway.settings import OperatorSettings, read_settings


def test_without_anything_set_the_defaults_hold():
    assert read_settings({}) == OperatorSettings()
    assert read_settings({"SPILLWAY_IMAGE": ""}, {"image": ""}) == OperatorSettings()


def test_each_field_is_read_from_its_variable():
    settings = read_settings(
        {
            "SPILLWAY_IMAGE": "registry/spillway:1",
            "SPILLWAY_NAMESPACES": "a, b,",
            "SPILLWAY_PROFILES_FILE": "/etc/spillway/profiles.yaml",
            "SPILLWAY_ALLOWED_HOSTS": "api.example.com,llm.example.org",
            "SPILLWAY_UNLABELLED_NAMESPACE_MAY_LEAVE": "None",
            "SPILLWAY_HUB_ENDPOINT": "https://hub.example.com/",
            "SPILLWAY_S3_ENDPOINT": "http://minio.storage:9000",
            "SPILLWAY_EGRESS_CIDRS": "203.0.113.0/24, 2001:db8::/32",
            "SPILLWAY_EGRESS_PROXY_URL": "http://proxy.corp.example:3128/",
            "SPILLWAY_DNS_NAMESPACES": "kube-system, dns",
            "SPILLWAY_MONITORING_NAMESPACES": "monitoring",
            "SPILLWAY_GATEWAY_REPLICAS": "3",
            "SPILLWAY_GATEWAY_POD": '{"nodeSelector": {"pool": "gateways"}}',
            "SPILLWAY_RESYNC_SECONDS": "60",
            "SPILLWAY_CONCURRENCY": "4",
            "SPILLWAY_HEALTH_PORT": "0",
            "SPILLWAY_HEALTH_HOST": "127.0.0.1",
            "SPILLWAY_LOG_FORMAT": "JSON",
            "SPILLWAY_LOG_LEVEL": "Debug",
        }
    )
    assert settings == OperatorSettings(
        image="registry/spillway:1",
        namespaces=("a", "b"),
        profiles_file=Path("/etc/spillway/profiles.yaml"),
        allowed_hosts=("api.example.com", "llm.example.org"),
        unlabelled_namespace_may_leave="None",
        hub_endpoint="https://hub.example.com",
        s3_endpoint="http://minio.storage:9000",
        egress_cidrs=("203.0.113.0/24", "2001:db8::/32"),
        egress_proxy_url="http://proxy.corp.example:3128",
        dns_namespaces=("kube-system", "dns"),
        monitoring_namespaces=("monitoring",),
        gateway_replicas=3,
        gateway_pod=GatewayPod(node_selector={"pool": "gateways"}),
        resync_seconds=60.0,
        concurrency=4,
        health_port=0,
        health_host="127.0.0.1",
        log_format="JSON",
        log_level="Debug",
    )
    unset = [field.name for field in dataclasses.fields(settings) if getattr(settings, field.name) == field.default]
    assert unset == []


def test_an_option_wins_over_its_variable():
    assert read_settings({"SPILLWAY_GATEWAY_REPLICAS": "3"}, {"gateway_replicas": "1"}).gateway_replicas == 1


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"SPILLWAY_GATEWAY_REPLICAS": "many"}, {}, "SPILLWAY_GATEWAY_REPLICAS: 'many' must be a number"),
        ({"SPILLWAY_GATEWAY_REPLICAS": "0"}, {}, "SPILLWAY_GATEWAY_REPLICAS: '0' must be at least 1"),
        ({"SPILLWAY_RESYNC_SECONDS": "nan"}, {}, "SPILLWAY_RESYNC_SECONDS: 'nan' must be at least 1"),
        (
            {"SPILLWAY_HUB_ENDPOINT": "hub"},
            {},
            "SPILLWAY_HUB_ENDPOINT: 'hub' must be a URL such as https://hub.example.com",
        ),
        (
            {"SPILLWAY_EGRESS_PROXY_URL": "http://user:password@10.0.0.9:3128"},
            {},
            (
                "SPILLWAY_EGRESS_PROXY_URL: 'http://user:password@10.0.0.9:3128' must be http://, a host and a port, "
                "without a password, such as http://10.0.0.9:3128"
            ),
        ),
        (
            {"SPILLWAY_EGRESS_PROXY_URL": "http://proxy.corp.example:3128"},
            {},
            (
                "SPILLWAY_EGRESS_PROXY_URL: 'http://proxy.corp.example:3128' must have an address for its host, or "
                "SPILLWAY_EGRESS_CIDRS must say where the proxy is: a network policy cannot match names"
            ),
        ),
        ({}, {"log_format": "xml"}, "--log-format: 'xml' must be one of Auto, JSON, Text"),
        (
            {"SPILLWAY_UNLABELLED_NAMESPACE_MAY_LEAVE": "Sensitive"},
            {},
            "SPILLWAY_UNLABELLED_NAMESPACE_MAY_LEAVE: 'Sensitive' must be one of None, Public, Internal",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named(environment, options, message):
    with pytest.raises(InvalidSetting, match=f"^{re.escape(message)}$"):
        read_settings(environment, options)
