"""Weights from every source; the hub's from a small one of our own on the loopback, by a process of its own."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop, normalize, resize, to_tensor

from corolla.config import ModelConfig
from corolla.data.tfrecord import map_file, parse_example, read_records
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.pretrained import IMAGENET, Preprocessing, load_weights

PHOTOS = Path(__file__).parents[2].parent / "shared" / "flowers" / "oxford17"
LITE0 = "timm:tf_efficientnet_lite0"
TINY = "timm:test_vit"  # 0.4 M parameters, fixed to 160 px


def randomised(model: nn.Module) -> dict[str, Tensor]:
    """A state dict unlike any fresh one, its batch norm statistics included."""
    return {
        name: torch.rand_like(tensor) if tensor.is_floating_point() else torch.full_like(tensor, 7)
        for name, tensor in model.state_dict().items()
    }


def load(config: ModelConfig, num_classes: int = 5, input_size: int = 160) -> tuple[nn.Module, Preprocessing | None]:
    model = build_model(config, num_classes, input_size)
    return model, load_weights(model, config, num_classes, input_size)


def refusal(config: ModelConfig) -> str:
    with pytest.raises(UserError) as error:
        load(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def assert_filled(model: nn.Module, source: dict[str, Tensor], *, but: tuple[str, ...] = ()) -> None:
    """Every tensor is the source's, except those whose names start like `but`, which aren't."""
    for name, tensor in model.state_dict().items():
        same = name in source and torch.equal(tensor, source[name])
        assert same != name.startswith(but), name


def test_no_weights_have_no_preprocessing() -> None:
    assert load(ModelConfig(name="resnet18"))[1] is None


# Files


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_state_dict(tmp_path: Path, suffix: str) -> None:
    state = randomised(torchvision.models.resnet18())
    path = tmp_path / f"resnet18{suffix}"
    torch.save(state, path) if suffix == ".pth" else safetensors.torch.save_file(state, path)
    model, preprocessing = load(ModelConfig(name="resnet18", weights=str(path)))
    assert_filled(model, state, but=("fc.",))
    assert preprocessing == IMAGENET


def test_the_classifier_is_kept_when_it_fits_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = ModelConfig(name="resnet18", width=0.25, weights=str(tmp_path / "five.pt"))
    state = randomised(build_model(config, 5, 32))
    torch.save(state, config.weights)
    assert_filled(load(config, num_classes=5)[0], state)
    assert caplog.messages[-1].endswith("classifier of 5 classes kept")
    assert_filled(load(config, num_classes=6)[0], state, but=("fc.",))
    assert caplog.messages[-1].endswith("classifier of 6 classes fresh")


def test_another_runs_checkpoint_brings_its_average_and_its_preprocessing(tmp_path: Path) -> None:
    config = ModelConfig(name="plain18", width=0.25, weights=str(tmp_path))  # the run folder stands for its best.pt
    ema, raw = (randomised(build_model(config, 5, 32)) for _ in range(2))
    own = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic", crop_fraction=0.9)
    fields = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic", "crop_fraction": 0.9}
    for average in (ema, None):
        torch.save({"model": raw, "ema": average, "preprocessing": fields, "epoch": 3}, tmp_path / "best.pt")
        model, preprocessing = load(config)
        assert_filled(model, average or raw)
        assert preprocessing == own


def test_a_data_parallel_timm_checkpoint_at_another_input_size(tmp_path: Path) -> None:
    state = randomised(timm.create_model("test_vit"))
    path = tmp_path / "vit.pt"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, path)
    model, preprocessing = load(ModelConfig(name=TINY, weights=str(path)), input_size=96)
    assert model.get_parameter("pos_embed").shape[1] == 6 * 6 + 1  # the photo's 6×6 patches and the class token
    assert_filled(model, state, but=("pos_embed", "head."))
    assert preprocessing is not None
    assert (preprocessing.mean, preprocessing.crop_fraction) == ((0.5, 0.5, 0.5), 0.95)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    config = ModelConfig(name="resnet18", width=0.25, weights=str(path))
    state = randomised(build_model(config, 5, 32))

    torch.save({name: tensor for name, tensor in state.items() if name != "layer3.0.conv2.weight"}, path)
    assert refusal(config).endswith("layer3.0.conv2.weight is missing")
    torch.save(state | {"neck.weight": torch.zeros(3)}, path)
    assert refusal(config).endswith("neck.weight is not in the model")
    torch.save(state | {"bn1.bias": torch.zeros(3)}, path)
    assert refusal(config).endswith("bn1.bias is (3,) in the weights, (16,) in the model")
    torch.save(randomised(build_model(ModelConfig(name="resnet34", width=0.25), 5, 32)), path)
    assert refusal(config).endswith("and 93 more")
    assert "do not fit timm:test_convnext: " in refusal(ModelConfig(name="timm:test_convnext", weights=str(path)))


def test_old_state_dicts_without_batch_counts_load(tmp_path: Path) -> None:
    config = ModelConfig(name="resnet18", width=0.25, weights=str(tmp_path / "old.pth"))
    state = randomised(build_model(config, 5, 32))
    torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, config.weights)
    assert torch.equal(load(config)[0].get_parameter("fc.weight"), state["fc.weight"])


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    config = ModelConfig(name="resnet18", width=0.25, weights=str(path))
    assert refusal(config).startswith(f"no weights at {path}")
    assert f"no weights at {tmp_path / 'best.pt'}" in refusal(ModelConfig(name="resnet18", weights=str(tmp_path)))
    path.write_bytes(b"petals")
    assert refusal(config).startswith(f"{path} is text: no checkpoint")
    torch.save(build_model(config, 5, 32), path)  # a pickled module would run code
    assert "can't be read without running code from it: it holds corolla.models.resnet.ResNet" in refusal(config)
    torch.save({"lr": 0.1}, path)
    assert refusal(config) == f"{path} holds no state dict: its first keys are lr"
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"\xfepetals")
    said = refusal(ModelConfig(name="resnet18", weights=str(broken)))
    assert said.startswith(f"{broken} is cut, or its header is broken")


# The package


def test_package_weights_and_their_preprocessing() -> None:
    model, preprocessing = load(ModelConfig(name=LITE0, weights="package"), num_classes=17)
    assert preprocessing == Preprocessing(
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop_fraction=0.875
    )
    assert model.get_parameter("classifier.weight").shape == (17, 1280)
    assert model.get_buffer("bn2.running_var").ne(1).all()


def val_photos(name: str, count: int) -> list[Image.Image]:
    """The first photos of a class, by its name."""
    label = (PHOTOS / "classes.txt").read_text().splitlines().index(name)
    photos = []
    for path in sorted(PHOTOS.glob("tfrecords-jpeg-224x224/val/*")):
        buffer = map_file(path)
        examples = [parse_example(buffer, record.start, record.end) for record in read_records(path, buffer)]
        spans = [(e.image_offset, e.image_offset + e.image_length) for e in examples if e.label == label]
        photos += [Image.open(io.BytesIO(buffer[start:end])).convert("RGB") for start, end in spans]
    return photos[:count]


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos are not here")
def test_the_package_knows_a_daisy() -> None:
    """With all 1000 classes the package's classifier is kept. Of these flowers ImageNet has the daisy alone."""
    model, preprocessing = load(ModelConfig(name=LITE0, weights="package"), num_classes=1000, input_size=224)
    assert preprocessing is not None
    mean, std = list(preprocessing.mean), list(preprocessing.std)

    def share_of_daisies(name: str) -> float:
        images = [center_crop(resize(to_tensor(photo), [256]), [224]) for photo in val_photos(name, 8)]
        with torch.inference_mode():
            logits = model.eval()(normalize(torch.stack(images), mean, std))
        return (logits.argmax(1) == 985).double().mean().item()

    assert share_of_daisies("daisy") > 0.8
    assert share_of_daisies("iris") < 0.2
    assert share_of_daisies("tigerlily") < 0.2


# The hub


def hub_of(files: dict[str, bytes], asked: list[str]) -> type[BaseHTTPRequestHandler]:
    """Answers as the hub does for files of a repository: HEAD with commit and ETag, then GET."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("X-Repo-Commit", "0" * 40)
            if body is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_header("ETag", f'"{len(body)}"')
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Hub


@pytest.fixture(scope="module")
def hub_weights() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    return {
        "resnet18.tv_in1k": randomised(torchvision.models.resnet18()),
        "test_vit.r160_in1k": randomised(timm.create_model("test_vit")),
    }


FETCH = """
import dataclasses, hashlib, json, sys, torch
from corolla.config import ModelConfig
from corolla.errors import UserError
from corolla.models.factory import build_model
from corolla.models.pretrained import load_weights

for name, input_size, out in json.loads(sys.argv[1]):
    config = ModelConfig(name=name, weights="pretrained")
    model = build_model(config, 5, input_size)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if name[:3] in ("fc.", "hea")}
    try:
        preprocessing = load_weights(model, config, 5, input_size)
        filled = model.state_dict()
        digests = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in filled.items()}
        small = {name: tensor for name, tensor in filled.items() if tensor.numel() < 100_000}  # not 47 MB of them
        torch.save([before, small, digests, dataclasses.asdict(preprocessing)], out)
    except UserError as error:
        print(error)
"""


def fetch(endpoint: str, home: Path, *jobs: tuple[str, int, Path]) -> str:
    """Load the named models' weights in a new process, as huggingface_hub reads its settings once; its output."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", FETCH, json.dumps([(name, size, str(out)) for name, size, out in jobs])]
    return subprocess.run(command, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout


@dataclass(frozen=True)
class Fetched:
    """The traces of a process with the loopback hub: files under `home`, its output, the paths it asked the hub for."""

    home: Path
    printed: list[str]
    asked: list[str]


@pytest.fixture(scope="module")
def fetched(hub_weights: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    home = tmp_path_factory.mktemp("hub")
    files = {
        f"/timm/{name}/resolve/main/model.safetensors": safetensors.torch.save(state)
        for name, state in hub_weights.items()
    }
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), hub_of(files, asked)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        jobs = [
            ("resnet18", 64, home / "own.pt"),
            (TINY, 96, home / "vit.pt"),
            ("timm:test_resnet", 64, home / "no.pt"),
        ]
        printed = fetch(f"http://127.0.0.1:{server.server_port}", home, *jobs).splitlines()
        server.shutdown()
    return Fetched(home, printed, asked)


@pytest.mark.slow
def test_an_own_resnet_takes_the_hubs_weights(fetched: Fetched, hub_weights: dict[str, dict[str, Tensor]]) -> None:
    assert "/timm/resnet18.tv_in1k/resolve/main/model.safetensors" in fetched.asked
    fresh, _, digests, preprocessing = torch.load(fetched.home / "own.pt", weights_only=True)
    for name, digest in digests.items():
        expected = fresh if name.startswith("fc.") else hub_weights["resnet18.tv_in1k"]
        assert digest == hashlib.sha256(expected[name].numpy().tobytes()).hexdigest(), name
    assert Preprocessing(**preprocessing) == IMAGENET


@pytest.mark.slow
def test_a_vit_takes_the_hubs_weights_at_another_size(
    fetched: Fetched, hub_weights: dict[str, dict[str, Tensor]]
) -> None:
    fresh, filled, _, preprocessing = torch.load(fetched.home / "vit.pt", weights_only=True)
    assert torch.equal(filled["head.weight"], fresh["head.weight"])
    assert torch.equal(filled["norm.weight"], hub_weights["test_vit.r160_in1k"]["norm.weight"])
    assert filled["pos_embed"].shape == (1, 6 * 6 + 1, 64)
    assert filled["pos_embed"].mean() > 0.4  # interpolated from numbers in [0, 1], not drawn around 0
    assert preprocessing["mean"] == (0.5, 0.5, 0.5)


def test_weights_that_the_hub_lacks(fetched: Fetched) -> None:
    assert not (fetched.home / "no.pt").exists()
    assert [line.split(" from ")[0] for line in fetched.printed] == ["no weights test_resnet.r160_in1k"]


@pytest.mark.slow
def test_offline_what_is_cached_still_loads_and_the_rest_fails_at_once(fetched: Fetched, tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nothing listens
    cached, missing = tmp_path / "cached.pt", tmp_path / "missing.pt"
    printed = fetch(closed, fetched.home, (TINY, 160, cached), ("resnet50", 64, missing)).splitlines()
    assert cached.exists()
    assert len(printed) == 1
    assert printed[0].startswith(f"no weights resnet50.tv_in1k from {closed} (")
    assert printed[0].endswith(f"use --model.name {LITE0} --model.weights package")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(name="resnet18", weights="pretrained", pretrained_tag="a9"), "choose a1_in1k, "),
        (ModelConfig(name="timm:gcvit_xxtiny", weights="pretrained"), "no weights for gcvit_xxtiny"),
    ],
)
def test_what_the_hub_does_not_have_is_said_without_asking_it(config: ModelConfig, message: str) -> None:
    assert message in refusal(config)
