"""The router: one logit per width from the trunk's hidden states."""

from __future__ import annotations

from torch import Tensor, nn


def masked_mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, tokens, hidden), (batch, tokens) -> (batch, hidden): padding never enters, so it never moves a route."""
    weights = attention_mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


class Router(nn.Module):
    """Masked mean -> Linear -> ReLU -> Linear, as published, with the masked mean in training and inference alike."""

    def __init__(self, hidden: int, router_hidden: int, widths: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden, router_hidden)
        self.output = nn.Linear(router_hidden, widths)

    def features(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden), (batch, tokens) -> (batch, router_hidden), before the last layer."""
        features: Tensor = self.hidden(masked_mean(hidden, attention_mask)).relu()
        return features

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, tokens, hidden), (batch, tokens) -> logits (batch, widths)."""
        logits: Tensor = self.output(self.features(hidden, attention_mask))
        return logits
