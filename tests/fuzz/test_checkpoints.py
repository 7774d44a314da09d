"""Checkpoints and weights of others, changed anyhow: what was saved, what safetensors reads, or one line."""

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import strategies as st
from mutations import VALUES, Fuzz, Refused, attempt, members, mutated, with_other_fields, zipped
from safetensors import SafetensorError
from torch import Tensor

from corolla.config import Config, ModelConfig, to_dict
from corolla.models.factory import build_model
from corolla.models.pretrained import load_weights
from corolla.models.weights_file import read_weights_file
from corolla.runs.checkpoint import load_checkpoint, rebuild_model
from corolla.runs.without_torch import read_without_tensors

ROW = {"epoch": 0, "step": 5, "lr": 0.1, "train_loss": 1.5, "val_loss": 1.5, "top1": 0.5, "top5": 1.0, "macro_f1": 0.5}
ROW["train_top1"] = 0.25
SMALL = ModelConfig(name="resnet18", width=0.03125)


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(SMALL, 3, 32)


STATE: dict[str, Tensor] = dict(model().state_dict())
CONTENT: dict[str, Any] = {
    "format": 1,
    "config": to_dict(Config(model=SMALL), with_runtime=False),
    "input_size": 32,
    "class_names": ["a", "b", "c"],
    "preprocessing": {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_fraction": 0.875},
    "fingerprint": {"train": "f", "val": "g"},
    "teacher": None,
    "progress": {
        "step": 5,
        "rows": [ROW],
        "inherited": 0,
        "loss_sum": 0.0,
        "num_seen": 0,
        "num_right": 0,
        "seconds": 1.5,
    },
    "model": {"fc.bias": torch.arange(3.0), "fc.weight": torch.ones(3, 2)},
    "ema": None,
    "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "scaler": None,
}
OPCODES = [
    b"\x80\x02",
    b"c__main__\nx\n",
    b"ctorch\nload\n",
    b"cbuiltins\neval\n",
    b"R",
    b"b",
    b"Q",
    b"}",
    b"]",
    b"(",
    b".",
]
OPCODES += [
    b"r\xff\xff\xff\x07",
    b"\x8e\0\0\0\0\1\0\0\0",
    b"\x96\0\0\0\0\1\0\0\0",
    b"N",
    b"u",
    b"0",
    b"2",
    b"\x81",
    b"h\x01",
]


def saved(content: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def with_other_pickle(content: bytes) -> st.SearchStrategy[bytes]:
    """Return checkpoints whose pickle is damaged under a sound checksum."""
    parts = members(content)
    (name,) = [name for name in parts if name.endswith("/data.pkl")]
    return mutated(parts[name], pieces=OPCODES).map(lambda pickled: zipped(parts | {name: pickled}))


def test_a_checkpoint_is_the_one_saved_or_one_line(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"

    def check(content: bytes) -> None:
        found = attempt(load_checkpoint, path, content)
        rest = attempt(read_without_tensors, path)
        assert isinstance(found, Refused) or same(CONTENT, {key: found[key] for key in CONTENT})
        assert isinstance(rest, Refused) or rest["progress"] == CONTENT["progress"]

    fuzz(check, mutated(saved(CONTENT)), fast=8, slow=1500)


def test_a_pickle_that_was_changed_is_a_checkpoint_or_one_line(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"

    def check(content: bytes) -> None:
        attempt(read_without_tensors, path, content)
        attempt(load_checkpoint, path)
        attempt(read_weights_file, path)

    bombs = [b"\x80\x02}r\xff\xff\xff\x07.", b"\x80\x02\x96" + (1 << 32).to_bytes(8, "little") + b"."]
    known = [zipped({"a/data.pkl": bomb, "a/version": b"3\n"}) for bomb in bombs]
    parts = members(saved(CONTENT))
    (name,) = [name for name in parts if name.endswith("/data.pkl")]
    place = parts[name].index(b"Q")  # a tensor's storage that is called by a number
    known += [zipped(parts | {name: parts[name][:place] + b"K\1Q" + parts[name][place:]})]
    fuzz(check, with_other_pickle(saved(CONTENT)), fast=10, slow=1500, known=known)


TENSORS = st.sampled_from(
    [
        *(torch.zeros(3), torch.ones(2, 2, dtype=torch.bfloat16), torch.full((3,), torch.nan), torch.tensor(5)),
        *(
            torch.eye(2).to_sparse(),
            torch.zeros(3, device="meta"),
            torch.zeros(3, dtype=torch.complex64),
            torch.empty(0),
        ),
    ]
)


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_weights_of_others_are_those_of_torch_or_one_line(how: str, fuzz: Fuzz, tmp_path: Path) -> None:
    content = {"state_dict": {"fc.bias": torch.arange(3.0), "fc.weight": torch.ones(3, 2)}, "epoch": 3}
    whole = saved(content, _use_new_zipfile_serialization=how == "zip")

    def check(content_: bytes) -> None:
        found = attempt(read_weights_file, tmp_path / "w.pt", content_)
        if content_ == whole or (how == "zip" and not isinstance(found, Refused)):
            assert same(content, found)

    fuzz(check, mutated(whole, pieces=OPCODES), fast=20, slow=2500)


def test_safetensors_are_those_of_its_own_reader(fuzz: Fuzz, tmp_path: Path) -> None:
    whole = safetensors.numpy.save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.int64)})
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]

    def framed(header: Any) -> bytes:
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data

    def check(content: bytes) -> None:
        found = attempt(read_weights_file, tmp_path / "w.safetensors", content)
        try:
            wanted = safetensors.numpy.load(content)
        except (SafetensorError, KeyError, ValueError, TypeError):
            assert isinstance(found, Refused) or any(tensor.dtype == torch.bfloat16 for tensor in found.values())
            return
        assert not isinstance(found, Refused)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name].numpy(), array)

    values = VALUES | st.sampled_from(
        ["F32", "F64", "I64", "BF16", "U8", "BOOL", "F8_E4M3", [0, 24], [3, 2], [6], [24, 0]]
    )
    fuzz(check, mutated(whole) | with_other_fields(header, values).map(framed), fast=30, slow=3000)


NESTED = {"state_dict": STATE, "epoch": 3, "hyper_parameters": {"lr": 0.1}, "model": {"fc.bias": torch.zeros(3)}}


def test_any_content_fills_a_network_or_is_one_line(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    config = ModelConfig(name=SMALL.name, width=SMALL.width, weights=str(path))
    network = model()

    def check(content: Any) -> None:
        try:
            torch.save(content, path)
        except (UnicodeEncodeError, RuntimeError, pickle.PicklingError):  # torch can't save this
            return
        network.load_state_dict(STATE)
        taken = attempt(lambda _: load_weights(network, config, 3, 32, quiet=True), path)
        if isinstance(taken, Refused):
            assert same(STATE, dict(network.state_dict()))
        assert all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())

    known = [{"a\x1f": None}, {"state_dict": {"x\n": torch.zeros(1)}, "epoch": 3}]
    fuzz(check, with_other_fields(NESTED, VALUES | TENSORS) | VALUES, fast=4, slow=300, known=known)


def test_a_checkpoint_of_other_content_is_a_network_or_one_line(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    content = copy.copy(CONTENT) | {"model": STATE}

    def check(content: Any) -> None:
        try:
            torch.save(content, path)
        except (UnicodeEncodeError, RuntimeError, pickle.PicklingError):
            return
        attempt(read_without_tensors, path)
        attempt(lambda path: rebuild_model(load_checkpoint(path)), path)

    known = [content | {key: value} for key in ("config", "model", "ema", "format") for value in (5, torch.zeros(2))]
    known += [{name: value for name, value in content.items() if name != key} for key in content]
    known += [content | {"preprocessing": {"mean": 5}}, content | {"model": {"fc.bias": torch.zeros(1)}}]
    fuzz(check, with_other_fields(content, VALUES | TENSORS), fast=3, slow=400, known=known)
