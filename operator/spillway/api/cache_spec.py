"""The part of `LLMDeployment.spec` that says where a downloaded model is kept."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from spillway.api.common import Matches, ObjectName, Rule, SpecModel, text
from spillway.api.enums import CacheAccessMode, CacheMode, RetentionPolicy

# What an absent field stands for; the rules about changes need it in CEL as well.
DEFAULT_MODE = CacheMode.PERSISTENT_VOLUME
DEFAULT_ACCESS_MODE = CacheAccessMode.READ_WRITE_ONCE
DEFAULT_SIZE = "50Gi"


class Cache(SpecModel):
    """Where a downloaded model is kept, so that a pod that starts again need not download it again."""

    mode: Annotated[
        CacheMode,
        Field(
            description="PersistentVolume: a Job downloads the model once, onto a claim that is made for it; "
            "ExistingClaim: onto the claim claimName; Ephemeral: each pod of the engine downloads it for itself. "
            "Absent: PersistentVolume. Cannot be changed."
        ),
    ] = DEFAULT_MODE
    access_mode: Annotated[
        CacheAccessMode,
        Field(
            description="ReadWriteOnce: all replicas are kept on one node, which alone can use the claim; "
            "ReadWriteMany: they may be anywhere. Absent: ReadWriteOnce. Cannot be changed."
        ),
    ] = DEFAULT_ACCESS_MODE
    size: Annotated[
        str,
        text(16),
        Matches("[1-9][0-9]{0,5}(Mi|Gi|Ti)", "cache.size must be a whole quantity in Mi, Gi or Ti, such as 50Gi"),
        Field(description="Size of the claim that is made, as a quantity. Absent: 50Gi. Can be made larger."),
    ] = DEFAULT_SIZE
    storage_class_name: Annotated[
        ObjectName | None,
        Field(description="Storage class of the claim that is made. Absent: the cluster's default. Cannot be changed."),
    ] = None
    claim_name: Annotated[
        ObjectName | None,
        Field(description="The claim of mode ExistingClaim, in the same namespace. Cannot be changed."),
    ] = None
    retention_policy: Annotated[
        RetentionPolicy,
        Field(
            description="What becomes of the claim that was made when this object is deleted. Retain: it stays; "
            "Delete: it goes, and the model with it. Absent: Retain."
        ),
    ] = RetentionPolicy.RETAIN

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.mode) && self.mode == 'ExistingClaim') == has(self.claimName)",
            "cache.claimName must be set for mode ExistingClaim, and for no other mode",
            lambda cache: (cache.mode is CacheMode.EXISTING_CLAIM) == (cache.claim_name is not None),
        ),
        Rule(
            "!has(self.storageClassName) || !has(self.mode) || self.mode == 'PersistentVolume'",
            "cache.storageClassName is for mode PersistentVolume: no claim is made in another",
            lambda cache: cache.storage_class_name is None or cache.mode is CacheMode.PERSISTENT_VOLUME,
        ),
    )


def _stated(of: str, field: str, absent: str) -> str:
    """CEL for a field of the cache of the spec that is called `of` in the rule."""
    return f"(has({of}.cache) && has({of}.cache.{field}) ? {of}.cache.{field} : '{absent}')"


def _unchanged(field: str, absent: str, cure: str) -> Rule:
    return Rule(
        f"{_stated('self', field, absent)} == {_stated('oldSelf', field, absent)}",
        f"cache.{field} cannot be changed: {cure}",
        lambda _: True,  # the API server alone can hold an old object against a new one
    )


_ANOTHER = "make another LLMDeployment with the cache that you want, and delete this one when it is ready"

CACHE_RULES: tuple[Rule, ...] = (
    Rule(
        f"!self.model.uri.startsWith('s3://') || {_stated('self', 'mode', DEFAULT_MODE)} != 'Ephemeral'",
        "cache.mode must be PersistentVolume or ExistingClaim for a model.uri of s3://: engines read no bucket",
        lambda spec: not spec.model.uri.startswith("s3://") or spec.cache.mode is not CacheMode.EPHEMERAL,
    ),
    Rule(
        "!self.model.uri.startsWith('pvc://') || !has(self.cache)",
        "cache must be left out for a model.uri of pvc://: the model is on a claim already",
        lambda spec: not spec.model.uri.startswith("pvc://") or "cache" not in spec.model_fields_set,
    ),
    _unchanged("mode", DEFAULT_MODE, _ANOTHER),
    _unchanged("accessMode", DEFAULT_ACCESS_MODE, _ANOTHER),
    _unchanged("claimName", "", _ANOTHER),
    _unchanged("storageClassName", "", _ANOTHER),
    Rule(
        f"quantity({_stated('self', 'size', DEFAULT_SIZE)}).compareTo("
        f"quantity({_stated('oldSelf', 'size', DEFAULT_SIZE)})) >= 0",
        f"cache.size can only be made larger, as claims can; for a smaller one {_ANOTHER}",
        lambda _: True,
    ),
)
