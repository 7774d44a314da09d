"""What a user reads when something goes wrong on a card: `gpu_faults.py DATA64 DATA224 RUNS`, a JSON line a case.

One process, because CUDA takes seconds to begin; a lack of memory is imitated by torch's own limit for a process.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import torch

from corolla.cli import run_command
from corolla.errors import Failure, UserError

ONE_EPOCH = ["--train.epochs", "1"]
SHARE = 0.3
"""What is looked for at 64 px shows in the first steps; the rest would only take the card's time."""


class Cases:
    """Runs a case and prints what came of it."""

    def __init__(self, data64: Path, data224: Path, runs: Path, *, rehearse: bool) -> None:
        self.data64, self.data224, self.runs = str(data64), str(data224), str(runs)
        self.cuda = not rehearse
        self.device = "cuda" if self.cuda else "cpu"

    def case(self, title: str, words: list[str], *, memory: float = 1.0) -> None:
        """Run a command; `memory` is the fraction of the card that it may take."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(memory)
            torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        try:
            said = f"status {run_command(words)}"
        except UserError as error:
            said = f"UserError: {error}"
        except Failure as error:
            said = f"Failure: {error}"
        except SystemExit as stop:
            said = f"exit {stop.code}"
        except BaseException as error:
            first = (str(error).splitlines() or [""])[0][:200]
            said = f"TRACEBACK {type(error).__module__}.{type(error).__name__}: {first}"
        finally:
            if self.cuda:
                torch.cuda.set_per_process_memory_fraction(1.0)
        peak = round(torch.cuda.max_memory_allocated() / 2**20) if self.cuda else 0
        row = {"case": title, "said": said, "seconds": round(time.monotonic() - start, 1), "peak_mib": peak}
        print(json.dumps(row), flush=True)

    def train(self, name: str, *options: object, experiment: str = "resnet18", large: bool = False) -> list[str]:
        """Return the words that train a run of this name."""
        data = self.data224 if large else self.data64
        words = ["train", experiment, "--data", data, "--runs", self.runs, "--run-name", name, "--device", self.device]
        return [*words, *([] if large else ["--train.share", str(SHARE)]), *map(str, options)]

    def predict(self, name: str, *options: object, large: bool = False) -> list[str]:
        """Return the words that predict with a run."""
        data = self.data224 if large else self.data64
        words = ["predict", f"{self.runs}/{name}", "--data", data, "--split", "val", "--device", self.device]
        return [*words, *map(str, options)]


def everywhere(cases: Cases) -> None:
    """Run the cases that a CPU can rehearse."""
    small = ["--model.width", "0.125"]
    cases.case("plain", cases.train("plain", *ONE_EPOCH, *small))
    cases.case(
        "channels_last toggled from a checkpoint",
        cases.train("toggled", *ONE_EPOCH, *small, "--train.no-channels-last", "--init-from", f"{cases.runs}/plain"),
    )
    mixed = ["--train.accumulate", 3, "--train.ema", 0.99, "--train.mixup", 0.2, "--train.cutmix", 1]
    mixed += ["--augment.erase", 0.2, "--optim.clip-norm", 1, "--optim.agc", 0.02, "--augment.color"]
    cases.case("accumulate, EMA, mixing, erasing, clipping", cases.train("mixed", *ONE_EPOCH, *small, *mixed))
    cases.case("accumulate auto", cases.train("auto", *ONE_EPOCH, *small, "--train.accumulate", "auto"))
    cases.case("a teacher", cases.train("taught", *ONE_EPOCH, *small, "--train.teacher", f"{cases.runs}/plain/best.pt"))
    cases.case("a loss that is not finite", cases.train("wild", *ONE_EPOCH, *small, "--optim.lr", 1e9))
    cases.case("a card that is not there", [*cases.train("seventh", *ONE_EPOCH), "--device", "cuda:7"])
    cases.case("multi-scale", cases.predict("plain", "--tta", "ten-crop+multi-scale"))


def on_a_card(cases: Cases) -> None:
    """Run the cases that need one."""
    cases.case("fp16", cases.train("fp16", *ONE_EPOCH, "--train.precision", "fp16"))
    cases.case("fp32", cases.train("fp32", *ONE_EPOCH, "--train.precision", "fp32"))
    cases.case(
        "fp16, never finite",
        cases.train(
            "never", "--train.epochs", 3, "--train.precision", "fp16", "--optim.lr", 1e6, "--optim.clip-norm", 1
        ),
    )
    large = {"experiment": "resnet50", "large": True}
    cases.case("no memory in training", cases.train("oom", *ONE_EPOCH, **large), memory=0.03)
    cases.case(
        "accumulate 2 is not enough", cases.train("oom", *ONE_EPOCH, "--train.accumulate", 2, **large), memory=0.03
    )
    cases.case(
        "accumulate auto finds it", cases.train("fits", *ONE_EPOCH, "--train.accumulate", "auto", **large), memory=0.03
    )
    grows = ["--augment.start-size", 64, "--train.batch-size", 256]
    cases.case("no memory at the last size", cases.train("grows", "--train.epochs", 2, *grows, **large), memory=0.06)
    cases.case("no memory for the network", cases.train("none", *ONE_EPOCH, **large), memory=0.0008)
    cases.case("large", cases.train("large", *ONE_EPOCH, **large))
    cases.case("predict with little memory", cases.predict("large", "--tta", "ten-crop", large=True), memory=0.008)
    deterministic = ["--train.deterministic", "--model.name"]
    cases.case("deterministic Lite0", cases.train("lite", *ONE_EPOCH, *deterministic, "timm:tf_efficientnet_lite0"))
    cases.case("compile", cases.train("compiled", *ONE_EPOCH, "--train.compile"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data64", type=Path)
    parser.add_argument("data224", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, those cases that it can have")
    asked = parser.parse_args()
    shutil.rmtree(asked.runs, ignore_errors=True)
    cases = Cases(asked.data64, asked.data224, asked.runs, rehearse=asked.rehearse)
    everywhere(cases)
    if not asked.rehearse:
        on_a_card(cases)


if __name__ == "__main__":
    main()
