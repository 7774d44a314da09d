"""fp32 is fp32, and bf16 is refused where a card has none."""

import pytest
import torch

from corolla.arithmetic import check_precision, exact_fp32, has_bf16
from corolla.errors import UserError


def settings() -> tuple[object, ...]:
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


def test_fp32_is_exact_and_what_was_there_comes_back() -> None:
    before = settings()
    assert before[0], "torch's default; this test would show nothing"
    with exact_fp32("fp32"):
        assert settings() == (False, False, "highest")
    assert settings() == before
    with pytest.raises(KeyError), exact_fp32("fp32"):
        raise KeyError
    assert settings() == before


def test_what_the_user_had_set_comes_back() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with exact_fp32("fp32"):
            assert settings() == (False, False, "highest")
        assert settings() == (True, True, "medium")
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_keep_their_speed(precision: str) -> None:
    before = settings()
    with exact_fp32(precision):  # pyright: ignore[reportArgumentType]
        assert settings() == before


@pytest.mark.parametrize(("capability", "here"), [((6, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), None), ((9, 0), None)])
def test_bf16_is_refused_where_a_card_has_none(
    capability: tuple[int, int], here: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    cuda = torch.device("cuda")
    for other in ("auto", "fp16", "fp32"):
        check_precision(other, cuda)
    assert has_bf16(cuda) == (here is None)
    if here is None:
        check_precision("bf16", cuda)
        return
    with pytest.raises(UserError) as caught:
        check_precision("bf16", cuda)
    number = ".".join(map(str, capability))
    assert str(caught.value) == (
        f"--train.precision bf16: cuda (Tesla T4) has no bf16 (compute capability {number}, it takes 8.0); use fp16, "
        f"or auto, which is {here} here"
    )


def test_a_cpu_takes_bf16() -> None:
    check_precision("bf16", torch.device("cpu"))
