"""What a run counts on the device, so that the host need not wait for it at every step."""

import torch


class NotFinite(RuntimeError):
    """The loss or the gradient of a step is not finite, or the weights after it; nothing was saved since."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(what)
        self.step = step


WHAT = ("loss is", "gradient's norm is", "weights' norm is")


class Tally:
    """The sum of the losses, and the first step that was not finite.

    From that step on `found_inf` is 1, which the fused optimizers read on the device: they leave the weights as they
    are. The host learns of it when it looks, at log steps and before anything is saved.
    """

    def __init__(self, device: torch.device, loss_sum: float = 0.0) -> None:
        precise = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no doubles
        self._sum = torch.tensor(loss_sum, dtype=precise, device=device)
        self._fault = torch.tensor([-1.0, 0.0, 0.0], dtype=precise, device=device)  # step, index in WHAT, value
        self.found_inf = torch.zeros((), device=device)

    def add(self, loss: torch.Tensor, num_images: int) -> None:
        """Count the mean `loss` of that many images."""
        self._sum += loss.to(self._sum.dtype) * num_images

    def check(self, value: torch.Tensor, step: int, what: int = 0) -> None:
        """Keep in mind that `value` (a scalar; see WHAT) was not finite at `step`, if it is the first."""
        value = value.detach().to(self._fault.dtype)
        here = torch.stack([torch.full_like(value, step), torch.full_like(value, what), value])
        first = (self._fault[0] < 0) & ~torch.isfinite(value)
        self._fault = torch.where(first, here, self._fault)
        self.found_inf = (self._fault[0] >= 0).float()

    def loss_sum(self) -> float:
        """The sum so far. Waits for the device.

        Raises:
            NotFinite: at some step since the start.
        """
        total, step, what, value = torch.cat([self._sum.view(1), self._fault]).tolist()
        if step >= 0:
            raise NotFinite(int(step), f"the {WHAT[int(what)]} {value}")
        return total

    def reset(self) -> None:
        """A new epoch: the sum starts at 0."""
        self._sum.zero_()
