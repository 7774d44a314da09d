"""Checkpoints as people have them: taken, with a line about what was left out, or refused with the true reason."""

import argparse
import collections
import dataclasses
import datetime
import io
import math
import pickle
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corolla.config import Config, ModelConfig, to_dict
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.pretrained import load_weights
from corolla.models.weights_file import read_weights_file

SMALL = ModelConfig(name="resnet18", width=0.125)
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """A state dict of 104 classes unlike any fresh one."""
    torch.manual_seed(1)
    model = build_model(SMALL, 104, 32)
    return {
        name: torch.rand_like(tensor) if tensor.is_floating_point() else torch.full_like(tensor, 7)
        for name, tensor in model.state_dict().items()
    }


def load(path: Path, num_classes: int = 6, name: str = SMALL.name) -> nn.Module:
    config = ModelConfig(name=name, width=0.125 if name.startswith("resnet") else 1.0, weights=str(path))
    model = build_model(config, num_classes, 32)
    load_weights(model, config, num_classes, 32)
    return model


def refusal(path: Path, **how: Any) -> str:
    with pytest.raises(UserError) as error:
        load(path, **how)
    said = str(error.value)
    assert "\n" not in said
    assert str(path) in said
    for advice in ("weights_only", "safe_globals", "arbitrary code", "trust"):
        assert advice not in said
    return said


def assert_taken(model: nn.Module, state: State) -> None:
    for name, tensor in model.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, state[name]), name


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def doubled(state: State) -> State:
    return {name: tensor * 2 for name, tensor in state.items()}


SHAPES: dict[str, Callable[[State], Any]] = {
    "lightning": lambda s: {"state_dict": prefixed(s, "model."), "epoch": 3, "hyper_parameters": {"lr": 0.1}},
    "model_state_dict": lambda s: {"epoch": 1, "model_state_dict": s, "optimizer_state_dict": {"state": {}}},
    "net": lambda s: {"net": s, "acc": 93.1},
    "net, data parallel": lambda s: {"net": prefixed(s, "module."), "acc": 93.1},
    "compiled, in a wrapper": lambda s: {"model": prefixed(s, "_orig_mod.model.")},
    "wrapper, compiled": lambda s: prefixed(s, "model._orig_mod."),
    "parts wrapped": lambda s: {
        name.replace(".0.", ".0._fsdp_wrapped_module._orig_mod.", 1): t for name, t in s.items()
    },
    "backbone": lambda s: prefixed(s, "backbone.") | {"neck.weight": torch.zeros(3), "cls.bias": torch.zeros(2)},
    "two containers": lambda s: {"checkpoint": {"state_dict": prefixed(s, "module.net.")}},
    "some other container": lambda s: {"my_resnet": s},
    "averaged": lambda s: prefixed(s, "module.") | {"n_averaged": torch.tensor(5)},
    "thop": lambda s: s | {"total_ops": torch.zeros(1), "layer1.0.total_params": torch.zeros(1)},
    "criterion": lambda s: {"state_dict": prefixed(s, "net.") | {"criterion.weight": torch.ones(104)}},
    "criterion beside": lambda s: s | {"criterion.weight": torch.ones(104), "epoch": 3},
    "namespace": lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1, out=Path("x"), nested={"a": [1]})},
    "numpy scalars": lambda s: {"best_acc": np.float64(0.5), "n": np.int32(3), "state_dict": s, "ok": np.bool_(True)},
    "numpy array": lambda s: {"state_dict": s, "history": np.arange(3.0), "names": np.array(["a"])},
    "defaultdict": lambda s: {"state_dict": s, "log": collections.defaultdict(list, {"loss": [1.0]})},
    "ema": lambda s: {"model": {name: tensor.float() * 2 for name, tensor in s.items()}, "ema": s},
    "ema, nested": lambda s: {"model": {name: tensor * 2 for name, tensor in s.items()}, "model_ema": {"module": s}},
    "ema beside, by prefix": lambda s: prefixed({n: t * 2 for n, t in s.items()}, "model.") | prefixed(s, "ema_model."),
    "parameters": lambda s: {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in s.items()},
    "another head": lambda s: {n: t for n, t in s.items() if n[:2] != "fc"} | {"head.weight": torch.ones(104, 64)},
    "sequential head": lambda s: {n.replace("fc.", "fc.1."): t for n, t in s.items()},
    "no head": lambda s: {n: t for n, t in s.items() if n[:2] != "fc"},
    "foreign preprocessing": lambda s: {"state_dict": s, "preprocessing": {"mean": [0.5]}},
    "foreign preprocessing, text": lambda s: {"state_dict": s, "preprocessing": "resize"},
    "numbered keys beside": lambda s: {1: 2, "state_dict": s},
    "list of one": lambda s: [s],
    "beside its optimizer": lambda s: (s, {"state": {}, "param_groups": [{"lr": 0.1}]}),
    "list in a container": lambda s: {"models": [s], "epoch": 3},
    "arrays": lambda s: {"state_dict": {name: tensor.numpy() for name, tensor in s.items()}},
    "arrays of a Mac of old": lambda s: {
        name: tensor.numpy().astype(tensor.numpy().dtype.newbyteorder(">")) for name, tensor in s.items()
    },
    "times": lambda s: {"state_dict": s, "began": datetime.datetime(2026, 1, 1), "took": datetime.timedelta(1)},
    "namespace of another kind": lambda s: {"state_dict": s, "args": types.SimpleNamespace(lr=0.1)},
    "a copy beside": lambda s: {"net_1": s, "net_2": {name: tensor.clone() for name, tensor in s.items()}},
}


WAYS = [(shape, ".pt", False) for shape in SHAPES] + [
    (shape, suffix, legacy)
    for shape in ("lightning", "namespace", "numpy scalars")
    for suffix, legacy in ((".pth.tar", False), (".ckpt", True), (".pt", True))
]


@pytest.mark.parametrize(("shape", "suffix", "legacy"), WAYS)
def test_checkpoints_of_others_are_taken(tmp_path: Path, state: State, shape: str, suffix: str, legacy: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(SHAPES[shape](state), path, _use_new_zipfile_serialization=not legacy)
    assert_taken(load(path), state)


@pytest.mark.parametrize("name", ["weights.safetensors", "pytorch_model.bin"])
def test_safetensors_whatever_their_name(tmp_path: Path, state: State, name: str) -> None:
    path = tmp_path / name
    safetensors.torch.save_file(prefixed(state, "model."), path)
    assert_taken(load(path), state)


def test_a_half_precision_file_is_taken(tmp_path: Path, state: State) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(half, tmp_path / "w.pt")
    assert_taken(load(tmp_path / "w.pt"), {name: tensor.to(state[name].dtype) for name, tensor in half.items()})


def test_the_log_says_what_was_left_out_and_made_new(
    tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    content = prefixed(state, "model.") | {"criterion.weight": torch.ones(104), "n_averaged": torch.tensor(3)}
    torch.save({"state_dict": content}, tmp_path / "w.ckpt")
    load(tmp_path / "w.ckpt", num_classes=6)
    assert caplog.messages[-2].endswith(
        ": weights taken from 'state_dict'; prefix 'model.' taken off; left out: criterion.weight, n_averaged; "
        "classifier made new (104 -> 6 classes)"
    )
    model = load(tmp_path / "w.ckpt", num_classes=104)
    assert torch.equal(model.get_parameter("fc.weight"), state["fc.weight"])
    assert "kept" in caplog.messages[-1]


WARNED: dict[str, tuple[Callable[[State], Any], str]] = {
    "student and teacher": (
        lambda s: {"student": s, "teacher": doubled(s)},
        "left out, though it fits as well: 'teacher'",
    ),
    "query and key": (
        lambda s: {"state_dict": prefixed(s, "module.encoder_q.") | prefixed(doubled(s), "module.encoder_k.")},
        "left out, though it fits as well: 'module.encoder_k.'; save it by itself",
    ),
    "best so far": (lambda s: {"state_dict": s, "best_state_dict": doubled(s)}, "as well: 'best_state_dict'; save"),
    "zeros": (lambda s: s | {"layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3)}, "zeros alone are in layer1.0.conv1"),
    "no variance": (lambda s: s | {"bn1.running_var": torch.zeros(8)}, "zeros alone are in bn1.running_var, as in"),
    "of timm": (lambda s: {"arch": "resnetrs18", "state_dict": s}, "it says that it is of resnetrs18"),
    "another activation": (
        lambda s: {"config": to_dict(Config(model=dataclasses.replace(SMALL, activation="silu"))), "model": s},
        "it says that it is of resnet18 with activation silu",
    ),
}


@pytest.mark.parametrize("kind", WARNED)
def test_what_else_fits_or_may_be_wrong_is_said(
    tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    make, said = WARNED[kind]
    torch.save(make(state), tmp_path / "w.pt")
    load(tmp_path / "w.pt")
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert said in warning.getMessage()


@pytest.mark.parametrize(
    "content",
    [lambda s: {"arch": "resnet18", "state_dict": s}, lambda s: {"config": to_dict(Config(model=SMALL)), "model": s}],
)
def test_nothing_is_said_of_a_networks_own_weights(
    tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture, content: Callable[[State], Any]
) -> None:
    torch.save(content(state), tmp_path / "w.pt")
    load(tmp_path / "w.pt")
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("content", "is_said"),
    [
        (lambda s, _: s, True),
        (lambda s, config: {"config": to_dict(Config(model=config)), "model": s}, False),
    ],
)
def test_weights_that_stride_elsewhere_fit_too_and_a_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: Callable[[State, ModelConfig], Any], is_said: bool
) -> None:
    """Names and shapes are those of torchvision's ResNet-50, which strides in the 3x3."""
    config = ModelConfig(name="resnet50", width=0.125, stride_in_1x1=True, weights=str(tmp_path / "w.pt"))
    model = build_model(config, 6, 32)
    torch.save(content(model.state_dict(), dataclasses.replace(config, weights="none")), tmp_path / "w.pt")
    load_weights(model, config, 6, 32)
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [("--model.no-stride-in-1x1" in warning) for warning in warnings] == [True] * is_said


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("open('executed', 'w')",))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"a": torch.zeros(1)}, "x": Evil()}, nn.Linear(2, 2)])
def test_nothing_is_executed(tmp_path: Path, content: Any, legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    assert "can't be read without running code from it: it holds " in refusal(tmp_path / "w.pt")
    assert not (tmp_path / "executed").exists()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def tar_of(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        info = tarfile.TarInfo("w.pt")
        info.size = len(data)
        file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("w.pth", b"<!DOCTYPE html><html>", "is a web page"),
        ("w.pth", b"\n  <HTML lang=en>", "is a web page"),
        ("w.ckpt", b"", "is empty"),
        ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        ("w.pt", b"\x1f\x8b\x08" + bytes(99), "is compressed with gzip"),
        ("w.onnx", b"\x08\x07\x12\x07pytorch", ".onnx"),
        ("w.npz", zip_of({"a.npy": b"\x93NUMPY"}), "is an archive of NumPy arrays"),
        ("w.zip", zip_of({"best/model.pth": b"x"}), "zip archive of other files (best/model.pth)"),
        ("w.pth.tar", tar_of(b"x"), "is a tar archive"),
        ("w.pt", b"some notes\nabout flowers", "is text"),
        ("w.pt", bytes(100), "is damaged, or no file of weights"),
        ("w.pt", bytes(2048), "begins with zero bytes only, as of a download that was never finished"),
        ("w.safetensors", b"Access denied\n", "is text: no checkpoint of PyTorch (.pt, .pth, .ckpt)"),
        ("w.pth", "Access denied".encode("utf-16"), "; it begins Access denied"),
        ("w.safetensors", b'{"error": "Repository not found"}', 'it begins {"error": "Repository not found"}'),
        ("w.pth", b"<Error><Code>AccessDenied</Code></Error>", "is a web page or an answer of a server"),
        ("w.pth", b"../.git/annex/objects/x3/W/SHA256E-s9--0.pth\n", "is a pointer of git-annex"),
        ("model.safetensors.index.json", b'{"metadata": {}}', "lists which files hold the weights"),
        ("w.bin", b'{"weight_map": {"conv1.weight": "pytorch_model-00001-of-00002.bin"}}', "lists which files hold"),
        ("w.safetensors", b"\xfepetals", "is cut, or its header is broken"),
        ("w.safetensors", (99).to_bytes(8, "little") + b"{}", "is cut, or its header is broken"),
        ("w.safetensors", (2).to_bytes(8, "little") + b"{]", "is cut, or its header is broken"),
        ("w.pt", pickle.dumps({"a": [1.0]}), "is a pickle that torch.save did not write"),
        ("R-50.pkl", pickle.dumps({"model": {"a": np.zeros(3)}}, 2), "is a pickle that torch.save did not write"),
    ],
)
def test_what_is_no_checkpoint_is_told_by_its_bytes(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason in refusal(tmp_path / name)


def with_value(state: State, tensor: Tensor) -> State:
    return state | {"bn1.bias": tensor}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda s: {"lr": 0.1, "epoch": 3}, "holds no state dict: its first keys are lr, epoch"),
        (lambda s: [1, 2], "holds no state dict: it holds list"),
        (lambda s: {}, "holds no state dict: it is an empty dict"),
        (lambda s: torch.zeros(3), "holds no state dict: it holds Tensor"),
        (lambda s: {1: torch.zeros(3)}, "holds no state dict: its first keys are 1"),
        (lambda s: {"state_dict": {"features.0.weight": torch.zeros(3)}}, "its first keys are features.0.weight"),
        (lambda s: with_value(s, torch.full((8,), math.nan)), "bn1.bias holds NaN or infinite values"),
        (lambda s: with_value(s, torch.full((8,), math.inf)), "bn1.bias holds NaN or infinite values"),
        (lambda s: with_value(s, torch.zeros(8, dtype=torch.int8)), "bn1.bias is int8, not floating point"),
        (lambda s: with_value(s, torch.quantize_per_tensor(torch.ones(8), 0.1, 0, torch.qint8)), "bn1.bias is qint8"),
        (lambda s: with_value(s, torch.zeros(8).to_sparse()), "bn1.bias is a sparse tensor"),
        (lambda s: with_value(s, torch.zeros(8, device="meta")), "bn1.bias has a shape and no values"),
        (lambda s: with_value(s, torch.zeros(8, dtype=torch.complex64)), "bn1.bias is complex64, not real"),
        (lambda s: with_value(s, torch.zeros(8, dtype=torch.float8_e4m3fn)), "bn1.bias is float8_e4m3fn, not floating"),
        (lambda s: {name: torch.zeros_like(tensor) for name, tensor in s.items()}, "holds no trained weights"),
        (lambda s: {name: torch.ones_like(tensor) for name, tensor in s.items()}, "holds no trained weights"),
        (lambda s: {"fold_0": s, "fold_1": doubled(s)}, "holds several networks that fit, 'fold_0', 'fold_1': save"),
        (lambda s: {"grads": doubled(s), "my_net": s}, "holds several networks that fit, 'grads', 'my_net'"),
        (lambda s: [s, doubled(s)], "holds several networks that fit, '0', '1'"),
        (lambda s: {"model": s | {"layer5.weight": torch.zeros(1)}}, "layer5.weight is not in the model"),
        (lambda s: prefixed(s, "net.") | {"net.layer5.weight": torch.zeros(1)}, "layer5.weight is not in the model"),
        (lambda s: s | {"bn1.bias": [1.0]}, "bn1.bias is no tensor but list"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_taken(
    tmp_path: Path, state: State, content: Callable[[State], Any], reason: str
) -> None:
    torch.save(content(state), tmp_path / "w.pt")
    assert reason in refusal(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_named(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "w.pt")
    assert "is a TorchScript program" in refusal(tmp_path / "w.pt")


def test_another_networks_checkpoint_of_corolla_is_named(tmp_path: Path) -> None:
    other = ModelConfig(name="resnet34", width=0.25)
    content = {"format": 1, "config": to_dict(Config(model=other)), "model": build_model(other, 5, 32).state_dict()}
    torch.save(content | {"ema": None}, tmp_path / "w.pt")
    assert "it is a corolla checkpoint of resnet34, width 0.25" in refusal(tmp_path / "w.pt")
    assert "it is a corolla checkpoint of resnet34" in refusal(tmp_path / "w.pt", name="timm:test_convnext")


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_convnext", "timm:test_resnet"])
def test_a_foreign_network_for_any_of_timms(tmp_path: Path, state: State, name: str) -> None:
    torch.save({"state_dict": prefixed(state, "model.")}, tmp_path / "w.pt")
    assert f"do not fit {name}" in refusal(tmp_path / "w.pt", name=name)
    own = ModelConfig(name=name)
    torch.manual_seed(2)
    torch.save({"net": prefixed(build_model(own, 9, 32).state_dict(), "model.")}, tmp_path / "own.pt")
    load(tmp_path / "own.pt", name=name)


def bytes_of(kind: str) -> bytes:
    content = {"state_dict": {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2)}, "epoch": 3}
    content |= {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)}
    buffer = io.BytesIO()
    if kind == "safetensors":
        return safetensors.torch.save(content["state_dict"])
    torch.save(content, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


KINDS = {kind: bytes_of(kind) for kind in ("zip", "legacy", "safetensors")}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(KINDS)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.01, 1) | st.just(1.0),
)
def test_damaged_bytes_give_right_values_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[float, int]], kept: float
) -> None:
    whole = KINDS[kind]
    data = bytearray(whole[: math.ceil(len(whole) * kept)])
    for place, value in changes:
        data[int(place * len(data))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(data)
    content, said = None, ""
    try:
        content = read_weights_file(path)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert said == "" or str(path) in said
    if content is not None and kind == "zip":  # the only one of the three that has checksums
        assert torch.equal(content["state_dict"]["a.weight"], torch.arange(12.0).reshape(3, 4))


def test_a_part_marked_as_a_folder_is_damaged(tmp_path: Path) -> None:
    """A flipped bit beside the name, which no checksum covers: torch then takes what its memory held before."""
    data = bytearray(KINDS["zip"])
    entry = data.rindex(b"PK\1\2", 0, data.index(b"/data/0", data.index(b"PK\1\2")))
    data[entry + 38] |= 0x10
    (tmp_path / "w.pt").write_bytes(data)
    assert "is marked as a folder" in refusal(tmp_path / "w.pt")


def test_a_name_that_only_holds_ema_is_no_average(state: State, tmp_path: Path) -> None:
    path = tmp_path / "names.pt"
    other = {f"cinema.{name}": torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save({f"net.{name}": tensor for name, tensor in state.items()} | other, path)
    model = build_model(SMALL, 104, 32)
    load_weights(model, ModelConfig(name="resnet18", width=0.125, weights=str(path)), 104, 32)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [("running_var", -torch.ones(8), "negative variances"), ("a\nb", torch.ones(1), r"a\\nb is not in the model")],
)
def test_negative_variances_and_names_of_two_lines_are_one_line(
    state: State, tmp_path: Path, name: str, values: Tensor, reason: str
) -> None:
    path = tmp_path / "odd.pt"
    key = next((own for own in state if own.endswith(name)), name)
    torch.save({**state, key: values}, path)
    with pytest.raises(UserError, match=reason) as refusal:
        load_weights(build_model(SMALL, 104, 32), ModelConfig(name="resnet18", width=0.125, weights=str(path)), 104, 32)
    assert "\n" not in str(refusal.value)
