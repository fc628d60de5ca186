"""Facts of models: their shape, and how many parameters follow from it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from spillway.api.v1alpha1 import QuantizationMethod
from spillway.sizing.profiles import Facts


class Origin(StrEnum):
    """What tells the facts of a model."""

    CONFIG = "config"
    """The config.json of its files."""
    CATALOGUE = "catalogue"
    STATED = "stated"
    """spec.model.parameters; the shape is that of the known model nearest in size."""
    NAME = "name"
    """A size in its name such as 7B; the shape is that of the known model nearest in size."""


class ModelFacts(Facts):
    """The shape of a model. Sizes are counts of numbers, not bytes; widths are those of the hidden layers.

    A mixture of experts has `experts` feed-forward blocks of `expert_size` in each layer but the first `dense_layers`,
    of which a token passes `experts_per_token`; `shared_expert_size` is the width that each token passes besides.
    """

    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    feed_forward_size: int = Field(default=0, ge=0)
    experts: int = Field(default=0, ge=0)
    experts_per_token: int = Field(default=0, ge=0)
    expert_size: int = Field(default=0, ge=0)
    shared_expert_size: int = Field(default=0, ge=0)
    dense_layers: int = Field(default=0, ge=0)
    # Latent attention (MLA): numbers that a token leaves in a layer's cache, in place of its keys and values.
    latent_size: int = Field(default=0, ge=0)
    # Layers that look back only `window_tokens`; the others see all of the context.
    sliding_layers: int = Field(default=0, ge=0)
    window_tokens: int = Field(default=0, ge=0)
    vocabulary: int = Field(gt=0)
    tied_embeddings: bool
    # What is in the files beside embedding, attention and feed-forward blocks, such as a part that sees images.
    other_parameters: int = Field(default=0, ge=0)
    context_length: int = Field(gt=0)
    # Bytes of the weights' files, where they are known; a quantised model's cannot be told from its shape alone.
    weight_bytes: int | None = Field(default=None, gt=0)
    # How the files store the weights; Auto: in a way of their own, which the engine reads from them. None: not known.
    stored_as: QuantizationMethod | None = None
    stored_bits: int | None = Field(default=None, gt=0)
    origin: Origin = Origin.CATALOGUE

    @property
    def estimated(self) -> bool:
        """Whether the shape is another model's."""
        return self.origin in {Origin.STATED, Origin.NAME}

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output layer, which quantised copies keep in 16 bits."""
        return self.vocabulary * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def widest_feed_forward(self) -> int:
        """Width of the feed-forward blocks that one token passes in one layer, where it is greatest."""
        mixture = self.experts_per_token * self.expert_size + self.shared_expert_size
        return max(self.feed_forward_size, mixture)

    def resized(self, parameters: int, origin: Origin) -> ModelFacts:
        """The same shape with other `parameters`, and nothing known of the files."""
        of_the_files = {"parameters", "origin", "weight_bytes", "stored_as", "stored_bits", "other_parameters"}
        shape = {name: getattr(self, name) for name in ModelFacts.model_fields if name not in of_the_files}
        return ModelFacts(**shape, parameters=parameters, origin=origin)


def count_parameters(facts: ModelFacts, attention: int | None = None) -> int:
    """Parameters that follow from the shape, without norms and biases: well under a thousandth of a model.

    `attention` is what one layer's attention has; None: query and output of all heads, keys and values of KV heads.
    """
    if attention is None:
        attention = facts.hidden_size * facts.head_size * 2 * (facts.attention_heads + facts.kv_heads)
    dense = facts.dense_layers if facts.experts else facts.layers
    gated = 3 * facts.hidden_size
    mixture = gated * (facts.experts * facts.expert_size + facts.shared_expert_size) + facts.hidden_size * facts.experts
    return (
        facts.embedding_parameters
        + facts.layers * attention
        + dense * gated * facts.feed_forward_size
        + (facts.layers - dense) * mixture
        + facts.other_parameters
    )
