"""The router: one logit per width from the trunk's hidden states."""

from __future__ import annotations

from torch import Tensor, nn

from sharcs_edge.model.configuration import SharcsEncoderConfig


def masked_mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, tokens, hidden), (batch, tokens) -> (batch, hidden): padding never enters, so it never moves a route."""
    weights = attention_mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


class Router(nn.Module):
    """Masked mean -> Linear -> ReLU -> Linear, as published, with the masked mean in training and inference alike.

    Encoders that normalise inside their layers hand out hidden states of any size: their mean is normalised first.
    """

    def __init__(self, config: SharcsEncoderConfig, widths: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps) if config.norm_first else nn.Identity()
        self.hidden = nn.Linear(config.hidden_size, config.router_hidden_size)
        self.output = nn.Linear(config.router_hidden_size, widths)

    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden), (batch, tokens) -> (batch, router_hidden), before the last layer."""
        features: Tensor = self.hidden(self.norm(masked_mean(hidden, attention_mask))).relu()
        return features

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden), (batch, tokens) -> logits (batch, widths)."""
        logits: Tensor = self.output(self.features(hidden, attention_mask))
        return logits
