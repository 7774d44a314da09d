"""What several test files need that is no fixture."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from conftest import draw, write_data

from corolla.config import Config
from corolla.data.tfrecord import encode_example, write_tfrecord


def break_first_jpeg(folder: Path) -> tuple[Path, str]:
    """A data folder whose first training JPEG is cut short, under a valid checksum; and how its fault's line begins."""
    data = write_data(folder)
    path = data / "tfrecords-jpeg-32x32" / "train" / "00-32x32-20.tfrec"
    images = [draw(i % 5, i, 32) for i in range(20)]
    images[0] = images[0][:150]
    write_tfrecord(path, [encode_example(image=im, label=i % 5, id=f"{i:09x}") for i, im in enumerate(images)])
    return data, f"{path}:0 record 0: JPEG does not decode: "


def changed(config: Config, section: str, **values: Any) -> Config:
    """`config` with other values in one section."""
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})


def same_content(first: Path, second: Path) -> bool:
    """Two checkpoints hold the same bits, but for the seconds they took and the run they come from."""
    contents = [torch.load(path, weights_only=True) for path in (first, second)]
    for content in contents:
        del content["progress"]["seconds"], content["progress"]["inherited"]
    return _same(*contents)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


@contextmanager
def corolla_process(command: Sequence[str], *, own_group: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A process of our own with its output piped, killed at the end whatever happens."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        process_group=0 if own_group else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
