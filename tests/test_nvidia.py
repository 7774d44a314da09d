"""NVIDIA cards that this torch cannot use, by what real ones report; there is none here."""

import dataclasses
from pathlib import Path

import pytest
import torch

from corolla import nvidia
from corolla.config import Config
from corolla.device import choose_device
from corolla.errors import UserError
from corolla.nvidia import card_fault
from corolla.training.train import train

DRIVER = (  # lllyasviel/Omost#120
    "The NVIDIA driver on your system is too old (found version 11060). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: "
    "https://pytorch.org to install a PyTorch version that has been compiled with your version of the CUDA driver."
)
UNKNOWN = (  # pytorch#49081
    "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
    "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
)
KAGGLE = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # Kaggle/docker-python#1546
SMI = """\
GPU 0: Tesla T4 (UUID: GPU-8a56a4bc-e184-a047-2620-be19fdf913d5)
GPU 1: Tesla T4 (UUID: GPU-29c9a4cd-d5c2-7d0e-1a5b-1c5f2e6c0a33)
"""


@pytest.fixture(autouse=True)
def no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setattr(nvidia, "DEVICES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def add_smi(folder: Path, said: str = SMI, status: int = 0) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
    (folder / "nvidia-smi").chmod(0o755)


def reports(monkeypatch: pytest.MonkeyPatch, text: str, *, cuda: str | None = "13.0") -> None:
    """Have torch report `text` when CUDA begins."""

    def begin() -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(torch.cuda, "init", begin)
    monkeypatch.setattr(torch.version, "cuda", cuda)


def has_card(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int], kernels: list[str]) -> None:
    """Have torch see a card, and kernels for these architectures."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: kernels)


def test_without_a_card_the_cpu_is_what_auto_means(tmp_path: Path) -> None:
    assert card_fault() is None
    assert choose_device().type in ("cpu", "mps")
    add_smi(tmp_path, "NVIDIA-SMI has failed because it couldn\\'t communicate with the NVIDIA driver", 9)
    assert card_fault() is None


def test_a_driver_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia0").touch()
    reports(monkeypatch, DRIVER)
    with pytest.raises(UserError) as told:
        choose_device()
    text = f"an NVIDIA card is here, but this torch ({torch.__version__}) is built for CUDA 13.0, and the driver takes "
    assert str(told.value).startswith(f"{text}CUDA 11.6 at most: update the NVIDIA driver, or install a torch that is ")
    assert choose_device("cpu").type == "cpu"


def test_what_torch_does_not_explain_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_smi(tmp_path)
    reports(monkeypatch, UNKNOWN)
    fault = str(card_fault())
    assert f"can't use it: {UNKNOWN.partition('. Setting')[0]}: look whether nvidia-smi lists it" in fault
    assert "\n" not in fault
    assert "nvidia-smi" in fault


def test_a_build_for_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_smi(tmp_path)
    reports(monkeypatch, "Torch not compiled with CUDA enabled", cuda=None)
    with pytest.raises(UserError, match=r"^Tesla T4 is here, .* is built for CPUs alone: install a build for CUDA"):
        choose_device("auto")
    with pytest.raises(UserError, match=r"^--device cuda: Tesla T4 is here, .* is built for CPUs alone"):
        choose_device("cuda")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_card_that_is_hidden_on_purpose_is_none(hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_smi(tmp_path)
    reports(monkeypatch, "No CUDA GPUs are available")
    assert card_fault() is not None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert card_fault() is None


@pytest.mark.parametrize("kaggle", [True, False])
def test_a_card_without_kernels(kaggle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kaggle's P100: torch sees it and fails in the first kernel."""
    if kaggle:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    has_card(monkeypatch, "Tesla P100-PCIE-16GB", (6, 0), KAGGLE)
    with pytest.raises(UserError) as told:
        choose_device()
    assert str(told.value).startswith("Tesla P100-PCIE-16GB needs kernels for sm_60, and this torch (")
    assert ("choose the accelerator GPU T4 x2" if kaggle else "install an older torch") in str(told.value)


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((7, 5), KAGGLE, True),
        ((8, 9), KAGGLE, True),  # an L4 runs what was built for sm_86
        ((6, 1), ["sm_60", "sm_70"], True),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_50", "sm_80", "sm_90"], False),  # pytorch#150733
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_80", "compute_90a"], False),
        ((12, 1), KAGGLE, True),
    ],
)
def test_which_cards_have_kernels(
    capability: tuple[int, int], kernels: list[str], runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_card(monkeypatch, "a card", capability, kernels)
    assert (card_fault() is None) == runs


@pytest.mark.parametrize("case", ["driver", "build", "kernels"])
def test_on_kaggle_nobody_is_told_to_install_torch(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    add_smi(tmp_path)
    reports(monkeypatch, DRIVER, cuda=None if case == "build" else "13.0")
    if case == "kernels":
        has_card(monkeypatch, "Tesla P100-PCIE-16GB", (6, 0), KAGGLE)
    fault = card_fault()
    assert fault is not None
    assert "pip" not in fault.remedy
    assert "install a torch" not in fault.remedy
    assert "--device cpu" in fault.remedy


def test_a_card_that_is_full_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:  # taohan10200/IIM#28
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(UserError, match=r"^--device cuda: it is there, and has no memory left at all: nvidia-smi"):
        choose_device("cuda")


def test_training_does_not_take_the_cpu_without_a_word(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_smi(tmp_path)
    reports(monkeypatch, DRIVER)
    with pytest.raises(UserError, match=r"the driver takes CUDA 11\.6 at most"):
        train(dataclasses.replace(tiny_config, device="auto"))
    assert train(tiny_config).state == "done", "--device cpu"
