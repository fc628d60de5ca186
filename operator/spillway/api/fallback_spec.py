"""The parts of `LLMDeployment.spec` that say what may leave, where to, and for how much."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from spillway.api.common import (
    ConfigMapKeyRef,
    Dollars,
    ListType,
    Matches,
    Rule,
    SecretKeyRef,
    SpecModel,
    text,
    whole,
)
from spillway.api.enums import (
    AccessMode,
    BudgetWindow,
    DataClass,
    Detector,
    FallbackMode,
    FallbackReason,
    OnExhausted,
    Provider,
)
from spillway.api.time_zone import UTC_NAME, ZONE_MESSAGE, ZONE_RULE, TimeZone, is_zone


class DataPolicy(SpecModel):
    """Which requests may leave the cluster."""

    default_class: Annotated[
        DataClass,
        Field(
            description="What a request is that does not say. A caller may say a more "
            "sensitive class, never a lesser one. Absent: Sensitive."
        ),
    ] = DataClass.SENSITIVE
    may_leave: Annotated[
        tuple[DataClass, ...],
        ListType("set", most=3),
        Field(
            description="Classes that may go to a target, never more than the namespace's "
            "label spillway.dev/may-leave allows. "
            "Absent or empty: nothing leaves.",
        ),
    ] = ()
    detectors: Annotated[
        tuple[Detector, ...],
        ListType("set", most=8),
        Field(
            description="What raises a request to Sensitive. PII: social security, card, account and "
            "telephone numbers, e-mail and IP addresses. Secrets: keys of API providers, private keys, tokens, "
            "connection strings with a password. Absent: [PII, Secrets]; empty: none.",
        ),
    ] = (Detector.PII, Detector.SECRETS)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.mayLeave) || !('Sensitive' in self.mayLeave)",
            "dataPolicy.mayLeave must not name Sensitive: it is the class of what "
            "never leaves; label requests Internal or Public instead",
            lambda policy: DataClass.SENSITIVE not in policy.may_leave,
        ),
    )


class Price(SpecModel):
    """What a target charges, in dollars."""

    input_per_million_tokens: Annotated[
        Decimal,
        Dollars("price.inputPerMillionTokens"),
        Field(description='Dollars for a million prompt tokens, as a quoted decimal such as "2.50".'),
    ]
    output_per_million_tokens: Annotated[
        Decimal,
        Dollars("price.outputPerMillionTokens"),
        Field(description='Dollars for a million generated tokens, as a quoted decimal such as "10.00".'),
    ]
    cached_input_per_million_tokens: Annotated[
        Decimal | None,
        Dollars("price.cachedInputPerMillionTokens"),
        Field(
            description="Dollars for a million prompt tokens that the provider found in its "
            "cache, as a quoted decimal. "
            "Absent: the price of other prompt tokens."
        ),
    ] = None


class Target(SpecModel):
    """A cloud API that may take over."""

    name: Annotated[
        str,
        text(63),
        Field(
            pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            description="Name of the target, in status, metrics and the audit log.",
        ),
    ]
    provider: Annotated[
        Provider,
        Field(
            description="Whose API it speaks. Anthropic and Gemini: their surfaces for clients of OpenAI. "
            "OpenAICompatible: any other server with the chat completions API of OpenAI."
        ),
    ]
    base_url: Annotated[
        str | None,
        text(512),
        Matches(
            "https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
            "baseURL must begin with https:// and hold a host, and at most a port and "
            "a path: prompts and keys never travel in the clear",
        ),
        Field(
            alias="baseURL",
            description="Where the API is, up to and with its version, such as "
            "https://api.example.com/v1. Its host must be on the "
            "administrator's list. Must be set for AzureOpenAI, to the v1 surface of the resource "
            "(https://my-resource.openai.azure.com/openai/v1), and for OpenAICompatible. "
            "Absent: where the provider's own API is.",
        ),
    ] = None
    ca_bundle_ref: Annotated[
        ConfigMapKeyRef | None,
        Field(
            description="Key of a ConfigMap with the PEM certificates to trust for this target alone, for a private CA."
        ),
    ] = None
    model: Annotated[
        str,
        text(128),
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
            description="The model's name at the target. AzureOpenAI: the deployment's name.",
        ),
    ]
    secret_ref: Annotated[
        SecretKeyRef | None,
        Field(
            description="Key of a Secret that holds the API key. May be absent for OpenAICompatible: no key is sent."
        ),
    ] = None
    timeout_seconds: Annotated[
        int, whole(1, 3600), Field(description="Longest time without a byte from the target, in seconds. Absent: 60.")
    ] = 60
    max_concurrent_requests: Annotated[
        int,
        whole(1, 10_000),
        Field(description="Requests that one gateway has open at the target at most. Absent: 20."),
    ] = 20
    price: Annotated[
        Price | None, Field(description="What the target charges. Must be set while fallback is Enabled or Shadow.")
    ] = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.provider != 'OpenAICompatible' || has(self.baseURL)",
            "baseURL must be set for provider OpenAICompatible, such as https://api.example.com/v1",
            lambda target: target.provider is not Provider.OPENAI_COMPATIBLE or target.base_url is not None,
        ),
        Rule(
            "self.provider != 'AzureOpenAI' || (has(self.baseURL) && self.baseURL.matches('/openai/v1/?$'))",
            "baseURL must be the v1 surface of your resource for provider AzureOpenAI: "
            "https://my-resource.openai.azure.com/openai/v1, without a deployment or an api-version",
            lambda target: (
                target.provider is not Provider.AZURE_OPENAI
                or (target.base_url or "").removesuffix("/").endswith("/openai/v1")
            ),
        ),
        Rule(
            "self.provider == 'OpenAICompatible' || has(self.secretRef)",
            "secretRef must be set for every provider but OpenAICompatible: "
            "name the Secret and the key that hold the API key",
            lambda target: target.provider is Provider.OPENAI_COMPATIBLE or target.secret_ref is not None,
        ),
    )


class Fallback(SpecModel):
    """Which cloud APIs may take over, and when."""

    mode: Annotated[
        FallbackMode,
        Field(
            description="Enabled: requests that may leave go to a target when a reason holds. Shadow: the same is "
            "decided, counted and priced, and nothing is sent; it needs neither budget nor access, nor that the "
            "Secrets of targets exist. Absent: Disabled."
        ),
    ] = FallbackMode.DISABLED
    reasons: Annotated[
        tuple[FallbackReason, ...],
        ListType("set", most=8),
        Field(
            description="When a request may go to a target. Saturated: the replicas cannot "
            "keep the SLO; NoEndpoints: there is no "
            "replica; Loading: none is ready yet; BackendError: one failed before its first byte. Absent: all of them.",
        ),
    ] = (
        FallbackReason.SATURATED,
        FallbackReason.NO_ENDPOINTS,
        FallbackReason.LOADING,
        FallbackReason.BACKEND_ERROR,
    )
    targets: Annotated[
        tuple[Target, ...],
        ListType("map", most=16, key="name"),
        Field(description="Cloud APIs, in the order in which they are tried."),
    ] = ()

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.mode) || self.mode == 'Disabled' || (has(self.targets) && size(self.targets) > 0)",
            "fallback.targets must name at least one target while fallback.mode is Enabled or Shadow",
            lambda fallback: fallback.mode is FallbackMode.DISABLED or len(fallback.targets) > 0,
        ),
        Rule(
            "!has(self.mode) || self.mode == 'Disabled' || !has(self.targets) || self.targets.all(t, has(t.price))",
            "fallback.targets: every target must state its price while fallback.mode "
            "is Enabled or Shadow; a budget cannot hold without it, nor a spill be priced",
            lambda fallback: fallback.mode is FallbackMode.DISABLED or all(target.price for target in fallback.targets),
        ),
    )


class Budget(SpecModel):
    """The dollars that targets may cost."""

    limit: Annotated[
        Decimal,
        Dollars("budget.limit", positive=True),
        Field(
            description='Dollars that all targets together may cost in one window, as a quoted decimal such as "50.00".'
        ),
    ]
    window: Annotated[
        BudgetWindow, Field(description="The calendar window in which the limit holds. Absent: Month.")
    ] = BudgetWindow.MONTH
    time_zone: TimeZone = UTC_NAME
    on_exhausted: Annotated[
        OnExhausted,
        Field(
            description="What happens when the limit is reached. LocalOnly: no request leaves "
            "until the next window. Absent: LocalOnly."
        ),
    ] = OnExhausted.LOCAL_ONLY
    alert_percents: Annotated[
        tuple[Annotated[int, whole(1, 100)], ...],
        ListType("set", most=10),
        Field(
            description="Parts of the limit, in percent, of which an Event tells when they are spent, once a window. "
            "Absent: [50, 80, 100]; empty: none."
        ),
    ] = (50, 80, 100)

    rules: ClassVar[tuple[Rule, ...]] = (Rule(ZONE_RULE, ZONE_MESSAGE, lambda budget: is_zone(budget.time_zone)),)


class Access(SpecModel):
    """Who may call the gateway for this model."""

    mode: Annotated[AccessMode, Field(description="None: everyone who reaches the gateway.")]
