"""The words that a field may take; CamelCase in the API, so that each is the same in status, metrics and headers."""

from __future__ import annotations

from enum import StrEnum


class EngineType(StrEnum):
    """The program that serves the model."""

    VLLM = "VLLM"
    OLLAMA = "Ollama"


class QuantizationMethod(StrEnum):
    """How the weights are stored."""

    AUTO = "Auto"
    NONE = "None"
    AWQ = "AWQ"
    GPTQ = "GPTQ"
    FP8 = "FP8"
    BITS_AND_BYTES = "BitsAndBytes"
    GGUF = "GGUF"


class GGUFVariant(StrEnum):
    """How the weights of a GGUF file are stored, in llama.cpp's words."""

    Q2_K = "Q2_K"
    Q3_K_S = "Q3_K_S"
    Q3_K_L = "Q3_K_L"
    IQ4_XS = "IQ4_XS"
    Q4_0 = "Q4_0"
    Q4_K_S = "Q4_K_S"
    Q4_K_M = "Q4_K_M"
    Q5_0 = "Q5_0"
    Q5_K_S = "Q5_K_S"
    Q5_K_M = "Q5_K_M"
    Q6_K = "Q6_K"
    Q8_0 = "Q8_0"
    F16 = "F16"


class MemoryCheck(StrEnum):
    """What follows when the plan finds that the model does not fit its accelerators."""

    DISABLED = "Disabled"
    WARN = "Warn"
    ENFORCE = "Enforce"


class KVCacheDType(StrEnum):
    """How the keys and values of the attention cache are stored."""

    AUTO = "Auto"
    FP8 = "FP8"


class CacheMode(StrEnum):
    """Where a downloaded model is kept."""

    EPHEMERAL = "Ephemeral"
    PERSISTENT_VOLUME = "PersistentVolume"
    EXISTING_CLAIM = "ExistingClaim"


class CacheAccessMode(StrEnum):
    """From how many nodes a claim can be used."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class RetentionPolicy(StrEnum):
    """What becomes of a claim when its LLMDeployment is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class DataClass(StrEnum):
    """How sensitive a request is, from what may never leave the cluster to what anyone may read."""

    SENSITIVE = "Sensitive"
    INTERNAL = "Internal"
    PUBLIC = "Public"


class Detector(StrEnum):
    """What a request is searched for."""

    PII = "PII"
    SECRETS = "Secrets"


class FallbackMode(StrEnum):
    """Whether requests may go to a cloud target."""

    DISABLED = "Disabled"
    SHADOW = "Shadow"
    ENABLED = "Enabled"


class FallbackReason(StrEnum):
    """Why a request may go to a cloud target."""

    SATURATED = "Saturated"
    NO_ENDPOINTS = "NoEndpoints"
    LOADING = "Loading"
    BACKEND_ERROR = "BackendError"


class Provider(StrEnum):
    """Whose API a target speaks."""

    OPENAI = "OpenAI"
    AZURE_OPENAI = "AzureOpenAI"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"
    OPENAI_COMPATIBLE = "OpenAICompatible"


class BudgetWindow(StrEnum):
    """The calendar window in which a limit holds."""

    DAY = "Day"
    MONTH = "Month"


class OnExhausted(StrEnum):
    """What happens when the budget of a window is spent."""

    LOCAL_ONLY = "LocalOnly"


class AccessMode(StrEnum):
    """Who may call."""

    NONE = "None"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class FallbackState(StrEnum):
    """What happens to requests that may leave."""

    LOCAL = "Local"
    SHADOW = "Shadow"
    OVERFLOWING = "Overflowing"
    BLOCKED = "Blocked"


class CostRecommendation(StrEnum):
    """Where the tokens of a model cost less."""

    KEEP_LOCAL = "KeepLocal"
    PREFER_CLOUD = "PreferCloud"
    HYBRID = "Hybrid"
    UNKNOWN = "Unknown"
