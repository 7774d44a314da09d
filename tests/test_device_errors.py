"""Faults of real cards are told from errors of the program, in one line with a remedy."""

import pytest
import torch
from device_faults import CUBLAS_ALLOC, CUDNN_INTERNAL, FAULTS, ILLEGAL_ACCESS, NO_KERNELS, OUT_OF_MEMORY, CardFault
from torch import nn

from corolla.device_errors import fault_line, fault_of, faults_told, memory_state
from corolla.errors import Failure
from corolla.models.factory import forward_error

CPU = torch.device("cpu")


@pytest.mark.parametrize("card", FAULTS, ids=lambda card: card.text[:40])
def test_each_fault_is_known_by_its_words(card: CardFault) -> None:
    assert fault_of(card.raised()) == card.fault


@pytest.mark.parametrize("card", FAULTS, ids=lambda card: card.text[:40])
def test_each_is_known_without_the_class_that_torch_2_6_does_not_have(
    card: CardFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch, "AcceleratorError", raising=False)
    assert fault_of(RuntimeError(card.text)) == card.fault


def test_an_unknown_report_of_the_accelerator_is_a_fault_of_the_device() -> None:
    accelerator_error = getattr(torch, "AcceleratorError", None)
    if accelerator_error is None:
        pytest.skip("from torch 2.8 on")
    assert fault_of(accelerator_error("something new")) == "device"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (7) must match the size of tensor b (8) at non-singleton dimension 3"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x8 and 16x8)"),
        ValueError("CUDA out of memory"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_errors_of_the_program_are_none(error: Exception) -> None:
    assert fault_of(error) is None
    assert fault_line(error, CPU, "in training", memory="") is None


def test_a_network_that_meets_a_fault_is_not_said_to_take_no_such_images() -> None:
    class Faulty(nn.Module):
        fault: Exception = OUT_OF_MEMORY.raised()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise self.fault

    model = Faulty()
    for card in FAULTS:
        model.fault = card.raised()
        with pytest.raises(RuntimeError) as caught:
            forward_error(model, 8, CPU)
        assert caught.value is model.fault
    model.fault = RuntimeError("The size of tensor a (7) must match the size of tensor b (8)")
    assert forward_error(model, 8, CPU).startswith("The size of tensor a")


@pytest.mark.parametrize("card", FAULTS, ids=lambda card: card.text[:40])
def test_each_becomes_one_line_with_its_remedy(card: CardFault) -> None:
    with pytest.raises(Failure) as caught, faults_told(CPU, "in training", memory="REMEDY", again="AGAIN"):
        raise card.raised()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert line.startswith("cpu (")
    assert " in training" in line
    assert ("REMEDY" in line) == (card.fault != "device")
    if card is NO_KERNELS:
        assert f"torch {torch.__version__} has no code for a card" in line
        assert line.endswith("use another card, or --device cpu")
    else:
        assert ("AGAIN" in line) == (card.fault != "memory")


def test_the_line_says_what_was_asked_for_and_what_there_is() -> None:
    assert memory_state(OUT_OF_MEMORY.raised(), CPU) == "22.78 GiB more were asked for, 12.73 GiB of 31.47 GiB are free"
    texts = {card.text[:20]: memory_state(card.raised(), CPU) for card in FAULTS}
    assert texts["[enforce fail at all"] == "4,294,967,296 MiB more were asked for"
    limited = memory_state(next(card for card in FAULTS if "preemptively" in card.text).raised(), CPU)
    assert limited == "2.00 GiB more were asked for"
    assert memory_state(CUBLAS_ALLOC.raised(), CPU) == "it does not say how much is free"


def test_where_the_error_names_no_numbers_the_card_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (312 * 2**20, 15095 * 2**20))
    line = fault_line(CUBLAS_ALLOC.raised(), torch.device("cuda"), "in training", memory="buy more")
    assert line == "cuda (Tesla T4) is out of memory in training (312 of 15,095 MiB are free): buy more"


def test_a_card_that_answers_no_more_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an illegal access every call fails with it."""

    def fail(*_: object) -> None:
        raise ILLEGAL_ACCESS.raised()

    for name in ("get_device_name", "mem_get_info", "get_device_capability"):
        monkeypatch.setattr(torch.cuda, name, fail)
    for card in (ILLEGAL_ACCESS, CUDNN_INTERNAL, CUBLAS_ALLOC, NO_KERNELS):
        line = fault_line(card.raised(), torch.device("cuda"), "in training", memory="REMEDY")
        assert line is not None
        assert line.startswith("cuda ")
