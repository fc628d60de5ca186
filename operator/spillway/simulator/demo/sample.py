"""The sample that the demo applies: the one that users are shown, with what this machine must change in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import yaml

from spillway.errors import SetupError

Object = dict[str, object]


@dataclass(frozen=True, slots=True)
class Adapted:
    """The object to apply, and each change in words."""

    document: Object
    changes: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """The name that clients put into `model`."""
        model = _mapping(_mapping(self.document["spec"])["model"])
        return str(model.get("servedName") or _mapping(self.document["metadata"])["name"])


def manifests_dir() -> Path:
    """The folder `manifests/` of the checkout, or its copy in an installed package.

    Raises:
        SetupError: there is neither.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package.parents[1] / "manifests", package / "manifests"):
        if (folder / "samples" / "chat.yaml").is_file():
            return folder
    raise SetupError("manifests/samples/chat.yaml is missing; run the demo from a checkout of Spillway: make demo")


def read_sample(name: str) -> Object:
    """One sample's LLMDeployment."""
    documents = yaml.safe_load_all((manifests_dir() / "samples" / f"{name}.yaml").read_text())
    return next(document for document in documents if document and document["kind"] == "LLMDeployment")


def adapt(sample: Mapping[str, object], cloud_url: str, limit_usd: Decimal) -> Adapted:
    """Point the sample's first target at the recording cloud, and make the budget small enough to run out."""
    document: Object = copy.deepcopy(dict(sample))
    spec = _mapping(document["spec"])
    targets = _mapping(spec["fallback"])["targets"]
    assert isinstance(targets, list)
    target = _mapping(targets[0])
    target |= {
        "provider": "OpenAICompatible",
        "baseURL": cloud_url,
        "caBundleRef": {"name": "recording-cloud", "key": "ca.crt"},
    }
    budget = _mapping(spec["budget"])
    was = budget["limit"]
    budget["limit"] = f"{limit_usd:.2f}"
    return Adapted(
        document,
        (
            f"fallback.targets[0]: the recording cloud at {cloud_url}, trusted by the CA made for this run",
            f'budget.limit: "{limit_usd:.2f}" in place of "{was}", so that it runs out while you watch',
        ),
    )


def as_yaml(adapted: Adapted) -> str:
    """The object as a file."""
    return yaml.safe_dump(adapted.document, sort_keys=False)


def model_of(sample: Mapping[str, object]) -> str:
    """Where its model is, such as hf://organisation/name."""
    return str(_mapping(_mapping(sample["spec"])["model"])["uri"])


def price_of(sample: Mapping[str, object]) -> tuple[str, str, str]:
    """(model, dollars per million input tokens, per million output tokens) of the first target."""
    targets = _mapping(_mapping(sample["spec"])["fallback"])["targets"]
    assert isinstance(targets, list)
    target = _mapping(targets[0])
    price = _mapping(target["price"])
    return str(target["model"]), str(price["inputPerMillionTokens"]), str(price["outputPerMillionTokens"])


def secret_of(sample: Mapping[str, object]) -> tuple[str, str]:
    """(name, key) of the Secret with the first target's API key."""
    targets = _mapping(_mapping(sample["spec"])["fallback"])["targets"]
    assert isinstance(targets, list)
    reference = _mapping(_mapping(targets[0])["secretRef"])
    return str(reference["name"]), str(reference["key"])


def _mapping(value: object) -> Object:
    assert isinstance(value, dict)
    return value
