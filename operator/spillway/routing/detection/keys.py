"""Keys of API providers: what their prefixes and shapes give away, and what is a key only by its name.

Where a provider publishes no format, it is the one that secret scanners have agreed on: GitHub's supported patterns
(https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns) and gitleaks'
rules (https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml).
"""

from __future__ import annotations

import re
from typing import Final

from spillway.api.v1alpha1 import Detector as Family
from spillway.routing.detection.detector import Candidate, Detector

_SCANNERS: Final = "https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml"
_SHORTEST_VARIETY: Final = 5
_MASK: Final = re.compile(rb"(?i)x{6}|0{8}|your|example|placeholder|redacted|dummy")

_NAMED_BY_AWS: Final = (
    r"(?i:aws|amazon|secret[_ -]?access)[^\n]{0,40}?(?i:secret|key)[^\n]{0,20}?"
    r"[\s=:\"'>,(]([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"
)
# name, pattern, source. A prefix needs no boundary in front: text that is joined without one may stand there.
_KEYS: Final = (
    ("openai-key", r"sk-(?:proj|svcacct|admin|service)-[A-Za-z0-9_-]{20,}", "https://platform.openai.com/api-keys"),
    ("openai-key", r"sk-[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,}", _SCANNERS),
    ("openai-key", r"\bsk-[A-Za-z0-9]{32,}", _SCANNERS),
    ("anthropic-key", r"sk-ant-[a-z0-9]{2,10}-[A-Za-z0-9_-]{24,}", "https://docs.anthropic.com/en/api/overview"),
    ("openrouter-key", r"sk-or-v1-[0-9a-f]{64}", "https://openrouter.ai/docs/api-reference/authentication"),
    ("google-key", r"AIza[0-9A-Za-z_-]{35}", "https://cloud.google.com/docs/authentication/api-keys"),
    ("google-key", r"GOCSPX-[A-Za-z0-9_-]{28}|\bya29\.[A-Za-z0-9_-]{30,}", _SCANNERS),
    (
        "aws-key",
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
    ),
    (
        "aws-key",
        _NAMED_BY_AWS,
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html",
    ),
    (
        "azure-key",
        r"(?i:AccountKey|SharedAccessKey|SharedSecretKey|account_key)[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{43,86}={1,2})",
        "https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string",
    ),
    (
        "azure-key",
        r"(?i)[?&](?:sv|se|sp|sr)=[^\s\"']*&sig=[A-Za-z0-9%/+]{40,}",
        "https://learn.microsoft.com/rest/api/storageservices/create-service-sas",
    ),
    ("azure-key", r"[A-Za-z0-9_~.]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}", _SCANNERS),
    (
        "azure-key",
        r"(?i)(?:azure|openai|cognitive|ocp-apim)[^\n]{0,40}?key[\"']?\s*[=:,]\s*[\"']?([0-9a-f]{32})(?:[^0-9A-Za-z]|$)",
        "https://learn.microsoft.com/azure/ai-services/authentication",
    ),
    (
        "github-token",
        r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}",
        "https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/",
    ),
    (
        "gitlab-token",
        r"gl(?:pat|dt|rt|ptt|soat|ft|cbt|agent|oas|imt|ffct)-[A-Za-z0-9_-]{20,}",
        "https://docs.gitlab.com/security/tokens/#token-prefixes",
    ),
    (
        "slack-token",
        r"xox[abceoprs](?:\.xox[abceoprs])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}",
        "https://api.slack.com/concepts/token-types",
    ),
    (
        "slack-token",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}",
        "https://api.slack.com/messaging/webhooks",
    ),
    ("stripe-key", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}", "https://docs.stripe.com/keys"),
    ("huggingface-token", r"(?:hf_|api_org_)[A-Za-z0-9]{34}", "https://huggingface.co/docs/hub/security-tokens"),
    ("npm-token", r"npm_[A-Za-z0-9]{36}", "https://github.blog/2021-09-23-announcing-npms-new-access-token-format/"),
    ("pypi-token", r"pypi-AgE[A-Za-z0-9_-]{50,}", "https://pypi.org/help/#apitoken"),
    ("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}", _SCANNERS),
    ("twilio-key", r"(?:^|[^0-9A-Za-z])SK[0-9a-f]{32}(?:[^0-9A-Za-z]|$)", "https://www.twilio.com/docs/iam/api-keys"),
    (
        "twilio-key",
        r"(?i)(?:twilio[^\n]{0,20}?auth|auth)[_ -]?token[\"']?\s*[=:]\s*[\"']?([0-9a-f]{32})(?:[^0-9A-Za-z]|$)",
        "https://www.twilio.com/docs/iam/api/authtoken",
    ),
    ("mailgun-key", r"(?:^|[^0-9A-Za-z])key-[0-9a-f]{32}(?:[^0-9A-Za-z]|$)", _SCANNERS),
    ("mailchimp-key", r"[0-9a-f]{32}-us[0-9]{1,2}(?:[^0-9A-Za-z]|$)", _SCANNERS),
    ("telegram-token", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", "https://core.telegram.org/bots/api#authorizing-your-bot"),
    ("discord-token", r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}", _SCANNERS),
    ("digitalocean-token", r"do[opr]_v1_[0-9a-f]{64}", "https://docs.digitalocean.com/reference/api/"),
    ("databricks-token", r"dapi[0-9a-f]{32}", _SCANNERS),
    ("shopify-token", r"shp(?:at|ca|pa|ss|tka)_[0-9A-Fa-f]{32}", "https://shopify.dev/docs/apps/auth"),
    ("square-token", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,43}|EAAA[A-Za-z0-9_-]{60}", _SCANNERS),
    ("vault-token", r"hv[sbr]\.[A-Za-z0-9_-]{24,}", "https://developer.hashicorp.com/vault/docs/concepts/tokens"),
    ("terraform-token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}", _SCANNERS),
    ("grafana-token", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}", _SCANNERS),
    ("docker-token", r"dckr_[po]at_[A-Za-z0-9_-]{27,}", _SCANNERS),
    ("atlassian-token", r"ATATT3[A-Za-z0-9_=-]{60,}", _SCANNERS),
    ("newrelic-key", r"NRAK-[A-Z0-9]{27}", _SCANNERS),
    ("sentry-token", r"sntry[su]_[A-Za-z0-9+/=_]{40,}", _SCANNERS),
    ("postman-key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", _SCANNERS),
    ("notion-token", r"ntn_[A-Za-z0-9]{40,}", _SCANNERS),
    ("linear-key", r"lin_(?:api|oauth)_[A-Za-z0-9]{40,}", _SCANNERS),
    ("rubygems-key", r"rubygems_[0-9a-f]{48}", _SCANNERS),
    (
        "model-provider-key",
        r"gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37}|pplx-[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{60,}|nvapi-[A-Za-z0-9_-]{40,}",
        _SCANNERS,
    ),
    ("age-key", r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "https://age-encryption.org/v1"),
)


def _is_no_mask(candidate: Candidate) -> bool:
    """Not sk-xxxxxxxx, nor <your key here>: a key varies."""
    return len(set(candidate.core)) > _SHORTEST_VARIETY and _MASK.search(candidate.core) is None


DETECTORS: Final = tuple(
    Detector(name, Family.SECRETS, pattern, source, _is_no_mask) for name, pattern, source in _KEYS
)
