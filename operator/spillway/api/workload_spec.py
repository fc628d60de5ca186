"""The parts of `LLMDeployment.spec` that say what runs: model, engine, accelerator, what a caller may expect."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from spillway.api.common import (
    Matches,
    Rule,
    SecretKeyRef,
    SpecModel,
    text,
    whole,
)
from spillway.api.enums import GGUFVariant, KVCacheDType, QuantizationMethod


class ModelSource(SpecModel):
    """The model and where it comes from."""

    uri: Annotated[
        str,
        text(512),
        Matches(
            "hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
            "|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_][A-Za-z0-9._=-]*)*"
            "|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
            "|ollama://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9][A-Za-z0-9._-]*){0,2}(:[A-Za-z0-9][A-Za-z0-9._-]*)?",
            "model.uri must be hf://organisation/name (a repository of the Hugging Face Hub), "
            "s3://bucket/folder, pvc://claim/path (a folder of a PersistentVolumeClaim in the same namespace) "
            "or ollama://name:tag (a model of Ollama's registry)",
        ),
        Field(
            description="Where the model is: hf://organisation/name on the Hugging Face Hub; s3://bucket/folder; "
            "pvc://claim/path, a folder (Ollama: a .gguf file) of a PersistentVolumeClaim in the same "
            "namespace; or ollama://name:tag, a model of Ollama's registry or of another "
            "(ollama://registry/organisation/name:tag)."
        ),
    ]
    revision: Annotated[
        str | None,
        text(128),
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            description="Branch, tag or commit of the repository. Absent: its main branch, as it is when it is "
            "downloaded; status says which commit that was.",
        ),
    ] = None
    served_name: Annotated[
        str | None,
        text(128),
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._:/-]*$",
            description="The name that clients put into `model`. Absent: the name of this object.",
        ),
    ] = None
    secret_ref: Annotated[
        SecretKeyRef | None,
        Field(description="Key of a Secret that holds the hub's token; of s3://, an AWS credentials file."),
    ] = None
    parameters: Annotated[
        str | None,
        text(12),
        Matches(
            "([1-9][0-9]{0,4}([.][0-9]{1,3})?|0[.][0-9]{0,2}[1-9])[MB]",
            'model.parameters must be millions or billions, above zero, such as "500M" or "7.6B"',
        ),
        Field(
            description="How many parameters the model has, such as 7.6B. Taken for sizing a model that is not well "
            "known and whose files are not there yet. Absent: read from its name."
        ),
    ] = None

    @property
    def parameter_count(self) -> int | None:
        """The stated parameters as a number."""
        if self.parameters is None:
            return None
        return int(Decimal(self.parameters[:-1]) * (10**9 if self.parameters.endswith("B") else 10**6))

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.uri.startsWith('ollama://') || !(self.uri.endsWith(':cloud') || self.uri.endsWith('-cloud'))",
            "model.uri must not name a cloud model of Ollama's: it would send every prompt to ollama.com; "
            "state a model that runs here, and fallback.targets for what may leave",
            lambda model: not (model.uri.startswith("ollama://") and model.uri.endswith((":cloud", "-cloud"))),
        ),
    )


class Quantization(SpecModel):
    """How weights and attention cache are stored."""

    method: Annotated[
        QuantizationMethod,
        Field(
            description="How the weights are stored. AWQ and GPTQ are stored so in the "
            "model's files; FP8 also quantises plain "
            "files while loading; None: plain files as they are; GGUF: as `variant` says, on Ollama alone; "
            "BitsAndBytes: in no engine of this release. Auto: as the model's name says; Ollama: GGUF. Absent: Auto."
        ),
    ] = QuantizationMethod.AUTO
    variant: Annotated[
        GGUFVariant | None,
        Field(description="Which of a repository's GGUF files, by how its weights are stored. Absent: Q4_K_M."),
    ] = None
    kv_cache_dtype: Annotated[
        KVCacheDType,
        Field(
            alias="kvCacheDType",
            description="How keys and values are stored. FP8 halves the cache, at a small "
            "loss of precision. Ollama's is always in 8 bits (q8_0). Absent: Auto, as the weights.",
        ),
    ] = KVCacheDType.AUTO


class Accelerator(SpecModel):
    """What one replica runs on."""

    profile: Annotated[
        str,
        text(63),
        Field(
            pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            description="Name of an accelerator profile, which the administrator of the cluster keeps.",
        ),
    ]
    count: Annotated[
        int,
        whole(0, 64),
        Field(description="Accelerators of one replica. 0 or absent: the fewest on which the model fits."),
    ] = 0


class SLO(SpecModel):
    """What a caller may expect. A request that the replicas cannot serve so goes to a target, if it may."""

    time_to_first_token_milliseconds: Annotated[
        int,
        whole(10, 600_000),
        Field(description="From the request's arrival to its first token, in milliseconds. Absent: 2000."),
    ] = 2000
    time_per_output_token_milliseconds: Annotated[
        int, whole(1, 60_000), Field(description="Between two tokens on average, in milliseconds. Absent: 100.")
    ] = 100


class Queue(SpecModel):
    """Where requests wait that can neither be served in time nor leave."""

    max_requests: Annotated[
        int,
        whole(0, 100_000),
        Field(description="Requests that may wait in one gateway; more are answered 503. Absent: 100."),
    ] = 100
    max_wait_seconds: Annotated[
        int,
        whole(0, 3600),
        Field(description="How long one may wait before it is answered 503, in seconds. Absent: 30."),
    ] = 30
