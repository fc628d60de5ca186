"""What each detector of secrets finds, and what only looks like one.

The keys are put together here, from a prefix and letters without a meaning: none of them ever opened anything, and none
stands in this file as it would in a leak.
"""

from __future__ import annotations

import base64

import orjson
import pytest

from spillway.routing.detection.inspect import inspect

LETTERS = "q7Zt3Rk9Wm2Xc8Vb5Np4Lj6Hg1Fd0Sa" * 8
HEX = "3f9a1c7e5b2d8064" * 8
CAPITALS = "Q7ZT3RK5WM2XC4VB" * 8


def of(count: int, alphabet: str = LETTERS) -> str:
    return alphabet[:count]


def jwt(header: object) -> str:
    parts = [orjson.dumps(header), orjson.dumps({"sub": "7"}), b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def found(text: str) -> str | None:
    rule = inspect({"prompt": text}, {"Secrets"})
    return rule if rule is None else rule.removeprefix("detector:")


KEYS = [
    ("openai-key", "sk-" + "proj-" + of(60)),
    ("openai-key", "sk-" + "svcacct-" + of(60)),
    ("openai-key", "sk-" + of(20) + "T3Blbk" + "FJ" + of(20)),
    ("openai-key", "sk-" + of(48)),
    ("anthropic-key", "sk-" + "ant-api03-" + of(90)),
    ("openrouter-key", "sk-" + "or-v1-" + of(64, HEX)),
    ("google-key", "AI" + "za" + of(35)),
    ("google-key", "GOC" + "SPX-" + of(28)),
    ("aws-key", "AK" + "IA" + of(16, CAPITALS)),
    ("aws-key", "AS" + "IA" + of(16, CAPITALS)),
    ("aws-key", "aws_secret_access_key = " + of(40)),
    ("aws-key", '"AWS_SECRET_KEY": "' + of(40) + '"'),
    ("azure-key", "DefaultEndpointsProtocol=https;AccountName=x;Account" + "Key=" + of(86) + "=="),
    ("azure-key", "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccess" + "Key=" + of(43) + "="),
    ("azure-key", "https://x.blob.core.windows.net/c?sv=2022-11-02&sp=r&si" + "g=" + of(43) + "%3D"),
    ("azure-key", 'AZURE_OPENAI_API_KEY="' + of(32, HEX) + '"'),
    ("azure-key", "abc8Q" + "~" + of(34)),
    ("github-token", "gh" + "p_" + of(36)),
    ("github-token", "gh" + "s_" + of(36)),
    ("github-token", "github" + "_pat_" + of(22) + "_" + of(59)),
    ("gitlab-token", "gl" + "pat-" + of(20)),
    ("slack-token", "xo" + "xb-1234-5678-" + of(24)),
    ("slack-token", "hooks.slack" + ".com/services/T0AB/B0CD/" + of(24)),
    ("stripe-key", "sk" + "_live_" + of(24)),
    ("stripe-key", "rk" + "_test_" + of(24)),
    ("huggingface-token", "h" + "f_" + of(34)),
    ("npm-token", "np" + "m_" + of(36)),
    ("pypi-token", "py" + "pi-AgEIcHlwaS5vcmc" + of(60)),
    ("sendgrid-key", "S" + "G." + of(22) + "." + of(43)),
    ("twilio-key", "S" + "K" + of(32, HEX)),
    ("twilio-key", "TWILIO_AUTH" + "_TOKEN=" + of(32, HEX)),
    ("mailgun-key", "key" + "-" + of(32, HEX)),
    ("mailchimp-key", of(32, HEX) + "-us" + "12"),
    ("telegram-token", "1234567890" + ":AA" + of(33)),
    ("discord-token", "M" + of(23) + "." + of(6) + "." + of(30)),
    ("digitalocean-token", "dop" + "_v1_" + of(64, HEX)),
    ("databricks-token", "dap" + "i" + of(32, HEX)),
    ("shopify-token", "shp" + "at_" + of(32, HEX)),
    ("square-token", "sq0" + "atp-" + of(22)),
    ("vault-token", "hv" + "s." + of(24)),
    ("terraform-token", of(14) + ".atlas" + "v1." + of(64)),
    ("grafana-token", "gl" + "sa_" + of(32)),
    ("docker-token", "dckr" + "_pat_" + of(27)),
    ("atlassian-token", "ATA" + "TT3" + of(64)),
    ("newrelic-key", "NR" + "AK-" + of(27, CAPITALS)),
    ("sentry-token", "snt" + "rys_" + of(40)),
    ("postman-key", "PM" + "AK-" + of(24, HEX) + "-" + of(34, HEX)),
    ("notion-token", "nt" + "n_" + of(44)),
    ("linear-key", "lin" + "_api_" + of(40)),
    ("rubygems-key", "ruby" + "gems_" + of(48, HEX)),
    ("model-provider-key", "gs" + "k_" + of(52)),
    ("model-provider-key", "r" + "8_" + of(37)),
    ("age-key", "AGE-SECRET" + "-KEY-1" + of(58, CAPITALS)),
    ("private-key", "-----BEGIN " + "PRIVATE KEY-----"),
    ("private-key", "-----BEGIN " + "OPENSSH PRIVATE KEY-----"),
    ("private-key", "-----BEGIN " + "ENCRYPTED PRIVATE KEY-----"),
    ("private-key", "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----"),
    ("private-key", "PuTTY-User-Key" + "-File-3: ssh-ed25519"),
    ("jwt", jwt({"alg": "HS256", "typ": "JWT"})),
    ("jwt", jwt({"enc": "A256GCM", "alg": "dir"})),
    ("connection-string", "postgres" + "://app:s3cr3t-77@db.internal:5432/x"),
    ("connection-string", "mongodb+srv" + "://app:s3cr3t@cluster0.mongodb.net"),
    ("connection-string", "redis" + "://:s3cr3t@cache:6379/0"),
    ("connection-string", "amqps" + "://app:s3cr3t@mq/"),
    ("connection-string", "https" + "://app:s3cr3t@example.com/x.git"),
    ("connection-string", "Server=db;Database=x;User Id=app;Pass" + "word=s3cr3t;"),
    ("connection-string", "Data Source=db;Initial Catalog=x;UID=app;PW" + "D=s3cr3t"),
    ("connection-string", "Pass" + "word=s3cr3t;Server=db"),
    ("connection-string", "jdbc:postgresql://db/x?user=app&pass" + "word=s3cr3t"),
    ("connection-string", "jdbc:oracle:thin:app" + "/s3cr3t@db:1521/x"),
    ("http-credential", "Authorization: Bear" + "er " + of(40)),
    ("http-credential", '"Authorization": "Bas' + "ic " + of(24) + '"'),
]


@pytest.mark.parametrize(("name", "secret"), KEYS, ids=lambda value: value[:24])
@pytest.mark.parametrize("around", ["{}", "export KEY='{}'", "see below:\n{}\nthanks"])
def test_secrets_are_found(name: str, secret: str, around: str) -> None:
    assert found(around.format(secret)) == name


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "proj-" + "x" * 40,
        "sk-" + "your-api-key-goes-here-please",
        "task-" + of(40),
        "risk-adjusted-return-on-capital-employed",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "AKIAlowercaseletters1",
        "aws_secret_access_key = <your key>",
        "aws s3 cp s3://bucket/" + of(40) + "/key",
        "gh" + "p_short",
        "hf_hub_download('org/model')",
        "npm_config_registry=https://registry.npmjs.org",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ q@host",
        "eyJhbGciOi",
        "eyJub3QiOiJhIGhlYWRlciJ9." + of(20) + "." + of(20),  # a JSON object that names no algorithm
        "postgres" + "://$USER:$PASSWORD@db/x",
        "postgres" + "://user:${DB_PASSWORD}@db/x",
        "postgres" + "://user:password@localhost/x",
        "postgres" + "://user:<password>@localhost/x",
        "redis" + "://localhost:6379/0",
        "https://example.com:8443/x@y",
        "http://localhost:8080/a?b=c@d",
        "Server=db;Database=x;Integrated Security=true",
        "Server=db;User Id=app;Pass" + "word=*****;",
        "Authorization: Bear" + "er $TOKEN",
        "Authorization: Bear" + "er <your-token-goes-right-here>",
        "commit " + of(40, HEX),
        "sha256:" + of(64, HEX),
        '"integrity": "sha512-' + of(86) + '=="',
        "550e8400-e29b-41d4-a716-446655440000",
        "key-value pairs, key-" + of(31, HEX),
    ],
)
def test_what_looks_like_a_secret_is_not(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize("family", ["PII", "Secrets"])
def test_a_family_that_is_off_finds_nothing(family: str) -> None:
    other = {"PII": "gh" + "p_" + of(36), "Secrets": "123-45-6789"}[family]
    assert inspect({"prompt": other}, {family}) is None
