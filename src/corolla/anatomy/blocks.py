"""The blocks of a trained network, left out or put into another order while all weights stay as they are.

A residual block is left out by dropping its residual branch; the shortcut stays, with its projection where it has one
(Veit, Wilber and Belongie 2016, section 4.1). In timm's networks as in the own ones that is the place where stochastic
depth would drop the branch, so the same rule finds and cuts the blocks of all of them. A plain network has no shortcut:
of it the pair of layers that corresponds to a block is left out, where its output has the shape of its input.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corolla.models.resnet import BasicBlock

BRANCHES = ("drop_path", "drop_path1", "drop_path2")
"""Attributes of a block through which its residual branches go; transformers have two."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block at its place in a network."""

    name: str
    """As `named_modules` has it: layer2.0."""
    module: nn.Module
    container: nn.Module
    """The module whose child it is."""
    keeps_shape: bool
    """True where its output has the shape of its input."""
    is_residual: bool

    @property
    def key(self) -> str:
        """Its name within the container."""
        return self.name.rpartition(".")[2]

    @property
    def can_be_left_out(self) -> bool:
        """False for a pair of a plain network that changes the shape: nothing else would bring what comes after."""
        return self.is_residual or self.keeps_shape


@torch.inference_mode()
def find_blocks(model: nn.Module, images: Tensor) -> list[Block]:
    """Return the blocks of a network in eval mode, in the order in which they compute; none where it has none.

    Args:
        images: what the network takes, N x 3 x H x W; it is called on them once, with all residual branches dropped.
    """
    modules = dict(model.named_modules())
    found = {name: module for name, module in modules.items() if any(hasattr(module, each) for each in BRANCHES)}
    plain = {module for module in found.values() if isinstance(module, BasicBlock) and module.downsample is None}
    shapes = dict[nn.Module, bool]()  # in the order of computing

    def note(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        before = inputs[0] if inputs else None
        shapes[module] = isinstance(before, Tensor) and isinstance(output, Tensor) and before.shape == output.shape

    dropped = {module: _Dropped() for module in found.values()}
    with ExitStack() as stack:
        for module in found.values():
            stack.callback(module.register_forward_hook(note).remove)
            if module not in plain:
                stack.enter_context(_branches_through(module, dropped[module]))
        model(images)
    places = {module: name for name, module in found.items()}
    return [
        Block(name, module, modules[name.rpartition(".")[0]], keeps_shape, module not in plain)
        for module, keeps_shape in shapes.items()
        if (name := places[module]) and (module in plain or dropped[module].is_used)
    ]


@contextmanager
def left_out(blocks: Sequence[Block]) -> Iterator[None]:
    """Leave blocks out of their network within the context."""
    with ExitStack() as stack:
        for block in blocks:
            if block.is_residual:
                stack.enter_context(_branches_through(block.module, _Dropped()))
            else:
                stack.enter_context(_at_place(block, nn.Identity()))
        yield


@contextmanager
def reordered(blocks: Sequence[Block], order: Sequence[int]) -> Iterator[None]:
    """Have block `order[i]` compute in the place of block i within the context."""
    with ExitStack() as stack:
        for place, source in enumerate(order):
            if place != source:
                stack.enter_context(_at_place(blocks[place], blocks[source].module))
        yield


def exchangeable(blocks: Sequence[Block]) -> list[list[int]]:
    """Return groups, of two or more, of the numbers of those blocks that can take each other's place.

    They are of one stage, have tensors of the same shapes and change no dimension (Veit et al. 2016, section 4.3).
    """
    groups = dict[tuple[object, ...], list[int]]()
    for number, block in enumerate(blocks):
        if block.keeps_shape:
            shapes = tuple((name, tensor.shape) for name, tensor in block.module.state_dict().items())
            groups.setdefault((block.container, type(block.module), shapes), []).append(number)
    return [group for group in groups.values() if len(group) > 1]


class _Dropped(nn.Module):
    """Gives zeros in place of what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.is_used = False

    def forward(self, x: Tensor) -> Tensor:
        self.is_used = True
        return torch.zeros_like(x)


@contextmanager
def _branches_through(block: nn.Module, module: nn.Module) -> Iterator[None]:
    """Have the residual branches of a block go through a module."""
    before = {name: getattr(block, name) for name in BRANCHES if hasattr(block, name)}
    for name in before:
        setattr(block, name, module)
    try:
        yield
    finally:
        for name, own in before.items():
            setattr(block, name, own)


@contextmanager
def _at_place(block: Block, module: nn.Module) -> Iterator[None]:
    """Have another module compute in the place of a block."""
    setattr(block.container, block.key, module)
    try:
        yield
    finally:
        setattr(block.container, block.key, block.module)
