"""Training a network within a random subspace: θ = θ₀ + λ · P z, of which only z, and the λ, are trained.

Li et al. 2018 (1804.08838, section 2) for the plain form; Aghajanyan et al. 2020 (2012.13255, the "structure-aware"
form) for one λ per layer, paid out of d. Their public code spends one λ per tensor; we spend one per module, so that a
linear map's weight and bias share theirs.

The parameters stay what they are and are written in place, so tied weights, hooks and `state_dict` know of nothing.
Gradients come as ever and are pulled back, ∂/∂z = Pᵀ λ ∂/∂θ, so the optimizer's state is that of d numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from dimscope.core.errors import UserError
from dimscope.core.method import Settings
from dimscope.models.load import Network
from dimscope.numerics.projections import Kind, draw
from dimscope.training.chosen import Parameters, body_parameters, head_parameters, train_only
from dimscope.training.settings import TrainingSettings


class MapSettings(Settings):
    """Which parameters move, and along which directions."""

    projection: Kind = "one_hot"
    """How trained numbers move the parameters; all but one_hot are for small models."""
    structure_aware: bool = False
    """Train one factor per module too, paid out of the numbers."""
    moved: str = "all"
    """Parameters that move: all, without_embeddings, attention, biases, last_layer, head, or a pattern of names."""
    head: Literal["inside", "apart"] = "inside"
    """Whether the classifier moves with the rest, whatever `moved` says, or is trained fully beside it, uncounted."""


class SubspaceSettings(MapSettings):
    """The same, and along how many."""

    num_trained: int = Field(1000, ge=1)
    """How many numbers are trained, d: those of z, and with `structure_aware` the factors of the modules."""


class Subspace:
    """The moved parameters of a network, where they started, and the numbers that move them.

    Raises:
        UserError: no parameter is called so, or there are not enough of them for so many numbers.
    """

    def __init__(self, network: Network, settings: SubspaceSettings, seed: int) -> None:
        self.network, self.settings, self.seed = network, settings, seed
        self.base_digest = weights_digest(network.model)
        self.moved, self.apart = _moved_and_apart(network.model, settings)
        self._targets = [parameter.detach().view(-1) for parameter in self.moved.values()]
        self._starts = [target.clone() for target in self._targets]
        modules = [name.rpartition(".")[0] for name in self.moved]
        number = {module: index for index, module in enumerate(dict.fromkeys(modules))}
        self._module_of = [number[module] for module in modules] if settings.structure_aware else []
        num_factors = len(number) if settings.structure_aware else 0
        if num_factors >= settings.num_trained:
            raise UserError(
                f"{num_factors} modules move, and each has a factor that is paid out of the trained numbers: "
                f"wanted more than {num_factors}, got {settings.num_trained}"
            )
        z = torch.zeros(settings.num_trained - num_factors, device=network.device)
        self.z = nn.Parameter(z)
        self.factors = nn.Parameter(torch.ones(num_factors, device=network.device))
        sizes = [target.numel() for target in self._targets]
        self.projection = draw(settings.projection, sizes, len(z), seed, network.device)
        train_only(network.model, (*self.moved.values(), *self.apart.values()))

    @property
    def num_moved(self) -> int:
        """The number of parameters that move, D."""
        return sum(target.numel() for target in self._targets)

    def distance(self) -> float:
        """Give how far the moved parameters are from where they started: the norm of θ - θ₀."""
        pairs = zip(self._targets, self._starts, strict=True)
        return sum(float((target - start).double().square().sum()) for target, start in pairs) ** 0.5

    def optimizer(self, network: Network, settings: TrainingSettings) -> SubspaceAdamW:
        """Give AdamW over the trained numbers, for `dimscope.training.loop.train`."""
        return SubspaceAdamW(self, settings)

    def state(self) -> dict[str, Tensor]:
        """Give a copy of all that was trained."""
        trained = {"z": self.z, "factors": self.factors, **{f"apart.{name}": each for name, each in self.apart.items()}}
        return {name: tensor.detach().clone() for name, tensor in trained.items()}

    @torch.no_grad()
    def set_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, and move the parameters there."""
        self.z.copy_(state["z"])
        self.factors.copy_(state["factors"])
        for name, parameter in self.apart.items():
            parameter.copy_(state[f"apart.{name}"])
        self.place()

    @torch.no_grad()
    def place(self) -> None:
        """Write θ₀ + λ · P z into the network."""
        factors = self.factors.tolist()
        for tensor, start, values in self.projection.apply(self.z):
            stop = start + len(values)
            if factors:
                # Not as torch.add's alpha: some processors would round once there, and some twice.
                values = values * factors[self._module_of[tensor]]
            torch.add(self._starts[tensor][start:stop], values, out=self._targets[tensor][start:stop])

    @torch.no_grad()
    def pull_back(self) -> None:
        """Turn the parameters' gradients into those of z and the factors; what it takes is used up."""
        gradients = [
            None if parameter.grad is None else parameter.grad.reshape(-1).to(self.z.dtype)
            for parameter in self.moved.values()
        ]
        if len(self.factors):
            self.factors.grad = self._pull_back_factors(gradients)
        self.z.grad = self.projection.transpose(gradients)

    def _pull_back_factors(self, gradients: list[Tensor | None]) -> Tensor:
        """Give the factors' gradients, and scale those of the parameters, as the chain rule wants them for z."""
        pulled = torch.zeros_like(self.factors)
        for tensor, start, values in self.projection.apply(self.z):
            gradient = gradients[tensor]
            if gradient is not None:
                pulled[self._module_of[tensor]] += torch.dot(gradient[start : start + len(values)], values)
        for gradient, module in zip(gradients, self._module_of, strict=True):
            if gradient is not None:
                gradient.mul_(self.factors[module])
        return pulled


class SubspaceAdamW(torch.optim.AdamW):
    """AdamW on the numbers of a subspace; the decay is on z alone, which it draws towards the start."""

    def __init__(self, subspace: Subspace, settings: TrainingSettings) -> None:
        others = [each for each in (subspace.factors, *subspace.apart.values()) if each.numel()]
        groups: list[dict[str, Any]] = [{"params": [subspace.z]}]
        if others:
            groups.append({"params": others, "weight_decay": 0.0})
        super().__init__(groups, settings.learning_rate, weight_decay=settings.weight_decay)
        self._subspace = subspace

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step from the network's gradients, and write the moved parameters."""
        self._subspace.pull_back()
        loss = super().step(closure)
        self._subspace.place()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the network's gradients too."""
        super().zero_grad(set_to_none)
        self._subspace.network.model.zero_grad(set_to_none)


def weights_digest(model: nn.Module) -> str:
    """Give the hash of all weights, by name, type, shape and bits.

    >>> weights_digest(nn.Identity())
    'e3b0c44298fc1c14'
    """
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def _moved_and_apart(model: PreTrainedModel, settings: SubspaceSettings) -> tuple[Parameters, Parameters]:
    """Give the parameters that move, and those of a head that is trained apart."""
    body, head = body_parameters(model, settings.moved), head_parameters(model)
    return ({**body, **head}, {}) if settings.head == "inside" else (body, head)
