"""Batch norms folded into the convolutions before them, for inference (Jacob et al. 2018, section 3.2).

At inference a batch norm is a factor and a shift per channel, which the convolution before it can take over: one pass
over the activations less for each.
"""

from timm.layers.conv2d_same import Conv2dSame
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

PLAIN = (nn.Conv2d, Conv2dSame)
"""Convolutions that use their weights as they are (others standardise them first, say)."""


class _Tracer(fx.Tracer):
    """A tracer that stops at convolutions and norms, whatever timm has built into them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d | nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norms(model: nn.Module) -> int:
    """Fold every batch norm of `model` (in eval mode) that follows a convolution, in place; return how many.

    A pair is folded where the norm alone reads what the convolution gives, and both are used once. A network that
    torch.fx cannot trace is left as it is.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception:  # control flow that depends on the data, or whatever else the network does in Python
        return 0
    modules = dict(model.named_modules())
    uses = [node.target for node in graph.nodes if node.op == "call_module"]
    folded = 0
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and node.op == before.op == "call_module" and len(before.users) == 1):
            continue
        norm, conv = modules[str(node.target)], modules[str(before.target)]
        once = uses.count(node.target) == uses.count(before.target) == 1
        if once and isinstance(norm, nn.BatchNorm2d) and type(conv) in PLAIN:
            _fold(conv, norm)
            model.set_submodule(str(node.target), _rest(norm))
            folded += 1
    return folded


def _fold(conv: nn.Module, norm: nn.BatchNorm2d) -> None:
    assert isinstance(conv, nn.Conv2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def _rest(norm: nn.BatchNorm2d) -> nn.Module:
    """Return the activation that timm builds into some of its norms; the identity where there is none."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
