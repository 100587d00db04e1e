"""Muon for the layers' matrices, AdamW for embeddings, norms and heads, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from datagen.config import FinetuneConfig


class MuonWithAdamW(torch.optim.Optimizer):  # type: ignore[misc]  # torch has no types here
    """Both in one, for a trainer that knows one optimizer: their groups are its groups, so a schedule acts on both.

    Muon (Jordan et al. 2024) orthogonalises the momentum of matrices; tied embeddings and output heads are no such
    matrices.
    """

    def __init__(self, model: Any, config: FinetuneConfig) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        matrices = [weight for name, weight in named if _is_matrix(name, weight)]
        others = [weight for name, weight in named if not _is_matrix(name, weight)]
        self.muon = torch.optim.Muon(matrices, lr=config.matrix_rate, weight_decay=config.weight_decay)
        betas = (config.beta1, config.beta2)
        self.adamw = torch.optim.AdamW(others, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """A step of both."""
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes the states of both, and their groups for its own."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def _is_matrix(name: str, weight: Any) -> bool:
    return weight.ndim == 2 and "embed" not in name and "lm_head" not in name
