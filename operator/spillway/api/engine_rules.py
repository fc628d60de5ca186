"""What model, quantisation and engine have to do with one another: rules over `LLMDeployment.spec`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spillway.api.common import Rule
from spillway.api.enums import EngineType, QuantizationMethod

if TYPE_CHECKING:
    from spillway.api.deployment_spec import LLMDeploymentSpec

_OLLAMA: Final = "has(self.engine) && has(self.engine.type) && self.engine.type == 'Ollama'"
_HAS_METHOD: Final = "has(self.quantization) && has(self.quantization.method)"
_HAS_VARIANT: Final = "has(self.quantization) && has(self.quantization.variant)"
_OLLAMA_METHODS: Final = frozenset({QuantizationMethod.AUTO, QuantizationMethod.GGUF})
_VLLM_LACKS: Final = frozenset({QuantizationMethod.GGUF, QuantizationMethod.BITS_AND_BYTES})
_PART: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
# [registry/][organisation/]name[:tag]
_OLLAMA_NAME: Final = f"({_PART}/){{0,2}}{_PART}(:{_PART})?"


def _on_ollama(spec: LLMDeploymentSpec) -> bool:
    return spec.engine.type is EngineType.OLLAMA


ENGINE_RULES: Final = (
    Rule(
        f"({_OLLAMA}) || !self.model.uri.startsWith('ollama://')",
        "engine.type must be Ollama for an ollama:// model",
        lambda spec: _on_ollama(spec) or not spec.model.uri.startswith("ollama://"),
    ),
    Rule(
        f"({_OLLAMA}) || !({_HAS_METHOD}) || !(self.quantization.method in ['GGUF', 'BitsAndBytes'])",
        "quantization.method must not be GGUF or BitsAndBytes with engine.type VLLM, whose 0.32 has neither: state an "
        "AWQ, GPTQ or FP8 copy of the model, FP8 for plain files, or engine.type Ollama for GGUF",
        lambda spec: _on_ollama(spec) or spec.quantization.method not in _VLLM_LACKS,
    ),
    Rule(
        f"({_OLLAMA}) || !({_HAS_VARIANT})",
        "quantization.variant must be left out with engine.type VLLM: it chooses among GGUF files",
        lambda spec: _on_ollama(spec) or spec.quantization.variant is None,
    ),
    Rule(
        f"!({_OLLAMA}) || !({_HAS_METHOD}) || self.quantization.method in ['Auto', 'GGUF']",
        "quantization.method must be Auto or GGUF with engine.type Ollama, which runs GGUF files alone: state a GGUF "
        "copy of the model and its quantization.variant, or engine.type VLLM",
        lambda spec: not _on_ollama(spec) or spec.quantization.method in _OLLAMA_METHODS,
    ),
    Rule(
        f"!({_OLLAMA}) || self.model.uri.startsWith('hf://') || !({_HAS_VARIANT})",
        "quantization.variant must be left out unless model.uri is hf://: the tag or the file says it",
        lambda spec: not _on_ollama(spec) or spec.model.uri.startswith("hf://") or spec.quantization.variant is None,
    ),
    Rule(
        f"!({_OLLAMA}) || !self.model.uri.startsWith('pvc://') || self.model.uri.endsWith('.gguf')",
        "model.uri must end with .gguf on a claim with engine.type Ollama: pvc://claim/path/model.gguf",
        lambda spec: (
            not _on_ollama(spec) or not spec.model.uri.startswith("pvc://") or spec.model.uri.endswith(".gguf")
        ),
    ),
    Rule(
        f"!({_OLLAMA}) || !(has(self.model.revision) || has(self.model.secretRef))",
        "model.revision and model.secretRef must be left out with engine.type Ollama, which pulls public models as "
        "they are: put others on a claim, pvc://claim/path/model.gguf",
        lambda spec: not _on_ollama(spec) or not (spec.model.revision or spec.model.secret_ref),
    ),
    Rule(
        f"!({_OLLAMA}) || !has(self.model.servedName) || self.model.servedName.matches('^{_OLLAMA_NAME}$')",
        "model.servedName must be a name of Ollama's with engine.type Ollama: name, name:tag or organisation/name:tag",
        lambda spec: (
            not _on_ollama(spec)
            or spec.model.served_name is None
            or re.fullmatch(_OLLAMA_NAME, spec.model.served_name) is not None
        ),
    ),
)
