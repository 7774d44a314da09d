"""The steps of scripts/gpu_check.sh: each a process of its own with a time limit, a line on the screen and a JSON."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corolla.device import describe
from corolla.nvidia import card_fault
from corolla.runs.writing import git_commit

COROLLA = [sys.executable, "-m", "corolla"]
LIMIT_S = 280
"""A session on a lent card is short: what has not begun by then is left out, and said to be."""
END_S = 295
"""What has not ended by then is stopped, and said to be."""


@dataclass
class Check:
    """Where things are, and how long it has taken."""

    out: Path
    data64: Path
    data224: Path
    rehearse: bool
    begin: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"

    def process(self, words: list[str], *, limit_s: float = 120, alone: bool = True) -> tuple[int, str, float]:
        """Run a command and return its status, its output and its seconds; alone, or sharing the processor's cores."""
        start = time.monotonic()
        if not self.rehearse:
            limit_s = max(1.0, min(limit_s, END_S - (start - self.begin)))
        environment = os.environ if alone else {"OMP_NUM_THREADS": "2"} | os.environ
        with subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,  # so that what it started ends with it
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output = process.communicate()[0] + f"\nstopped after {limit_s:.0f} s"
        return process.returncode, output, time.monotonic() - start

    def corolla(self, *words: object, limit_s: float = 120) -> tuple[int, str, float]:
        """Run a command of corolla's."""
        return self.process([*COROLLA, *map(str, words)], limit_s=limit_s)

    def step(self, name: str, work: Callable[[], tuple[bool, str, dict[str, Any]]]) -> None:
        """Do a step that returns whether it is well, a line and what to keep; write and print them."""
        start = time.monotonic()
        if start - self.begin > LIMIT_S and not self.rehearse:
            good, line, facts = False, "left out: the time is over", {}
        else:
            good, line, facts = work()
        facts = {"step": name, "good": good, "line": line, "seconds": round(time.monotonic() - start, 1), **facts}
        (self.out / f"{name.replace(' ', '-')}.json").write_text(json.dumps(facts, indent=2) + "\n")
        print(f"{'ok  ' if good else 'FAIL'} {name} ({facts['seconds']} s): {line}", flush=True)
        if not good:
            self.failed.append(name)


def last_line(output: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def embedded(check: Check, size: int, share: float) -> Path:
    """Return the embedded set of one size, which is drawn where it is missing."""
    folder = check.out / f"embedded-{size}"
    if not (folder / "test_labels.csv").exists():
        status, output, _ = check.corolla("synth", folder, "--size", size, "--share", share)
        if status:
            sys.exit(f"{folder}: could not be drawn: {last_line(output)}")
    return folder


def gpu_tests(check: Check) -> tuple[bool, str, dict[str, Any]]:
    """Run the tests that only a card can fail."""
    workers = str(max(1, min(6, (os.cpu_count() or 2) // 2)))  # each of them takes half a GiB of the card to begin
    words = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-q", "-n", workers, "--tb=short"]
    words += ["-p", "no:cacheprovider", "-p", "no:warnings"]
    status, output, _ = check.process(words, limit_s=180, alone=False)
    skips_are_fine = check.rehearse and status == 0
    return status == 0 or skips_are_fine, last_line(output), {"output": output[-20_000:]}


def benches(check: Check, large: str, small: str) -> tuple[bool, str, dict[str, Any]]:
    """Run the benches in one process, because CUDA takes seconds to begin, and keep all that they measured."""
    benches = {
        "data": ["data", "--data", check.data224],
        "data on the card": ["data", "--data", check.data224, "--cache", "device"],
        "train large": ["train", large, "--data", check.data224],
        "train small": ["train", small, "--data", check.data64],
        "predict": ["predict", large, "--data", check.data224],
    }
    short = ["--pairs", 1, "--batch-size", 8] if check.rehearse else ["--pairs", 2]
    targets = {name: check.out / f"measured-{name.replace(' ', '-')}.json" for name in benches}
    commands = [
        ["bench", *words, "--device", check.device, *short, "--json", targets[name]] for name, words in benches.items()
    ]
    program = "import json, sys; from corolla.cli import run_command\n"
    program += "sys.exit(max(run_command(words) for words in json.loads(sys.argv[1])))"
    text = json.dumps([[str(word) for word in words] for words in commands])
    status, output, _ = check.process([sys.executable, "-c", program, text], limit_s=600 if check.rehearse else 180)
    measured = {name: json.loads(target.read_text()) for name, target in targets.items() if target.exists()}
    for name, found in measured.items():
        ratios = [f"{one['ratio']['median']:.2f} of {one['reference']}" for one in found["comparisons"]]
        print(f"     {name}: {'; '.join(ratios)}", flush=True)
    line = f"{len(measured)} of {len(benches)} measured" + (f"; {last_line(output)}" if status else "")
    return status == 0, line, {"measured": measured, "output": output[-5000:] if status else ""}


def train_best(check: Check) -> tuple[bool, str, dict[str, Any]]:
    """Train scratch_best for its time and its score on val."""
    runs = check.out / "runs"
    short: list[object] = ["--train.epochs", 1, "--input-size", 32] if check.rehearse else ["--input-size", 96]
    words = ["train", "scratch_best", "--data", check.data64, "--runs", runs, "--run-name", "best"]
    status, output, seconds = check.corolla(*words, "--device", check.device, *short, limit_s=200)
    if status:
        return False, last_line(output), {"output": output[-5000:]}
    metrics = [json.loads(line) for line in (runs / "best/metrics.jsonl").read_text().splitlines()]
    facts: dict[str, Any] = {"train_seconds": round(seconds, 1), "metrics": metrics}
    facts["timing"] = [json.loads(line) for line in (runs / "best/timing.jsonl").read_text().splitlines()]
    return True, f"{seconds:.0f} s with start, val macro F1 {metrics[-1]['macro_f1']:.4f}", facts


def submission(check: Check) -> tuple[bool, str, dict[str, Any]]:
    """Predict with ten crops, write the CSV and score it, where the labels are there."""
    best, csv, labels = check.out / "runs/best", check.out / "ten-crop.csv", check.data64 / "test_labels.csv"
    views = ["--tta", "ten-crop", "--checkpoint", "last"]
    status, output, seconds = check.corolla("predict", best, "--split", "test", *views)
    if not status:
        status, output, _ = check.corolla("ensemble", best, *views, "--out", csv)
    if not status and labels.exists():
        status, output, _ = check.corolla("score", csv, labels)
    line = next((line for line in output.splitlines() if "macro F1" in line), last_line(output))
    return status == 0, line, {"predict_seconds": round(seconds, 1), "output": output}


def resume(check: Check) -> tuple[bool, str, dict[str, Any]]:
    """Kill a deterministic run three times and compare what comes out with a run that was left alone, bit for bit."""
    runs = check.out / "resume"
    words: list[object] = ["train", "resnet18", "--data", check.data64, "--runs", runs, "--device", check.device]
    words += ["--train.deterministic", "--train.checkpoint-minutes", 0.01, "--pipeline.workers", 2]
    words += ["--train.epochs", 2, "--model.width", 0.25] if check.rehearse else ["--train.epochs", 4]
    status, output, _ = check.corolla(*words, "--run-name", "alone", limit_s=240)
    if status:
        return False, last_line(output), {"output": output[-5000:]}
    kills = sum(kill_after_a_checkpoint([*COROLLA, *map(str, words), "--run-name", "killed"], runs) for _ in range(3))
    status, output, _ = check.corolla(*words, "--run-name", "killed", limit_s=240)
    if status:
        return False, last_line(output), {"output": output[-5000:]}
    number, differing = compare_checkpoints(runs / "alone/last.pt", runs / "killed/last.pt")
    same = (runs / "alone/metrics.jsonl").read_bytes() == (runs / "killed/metrics.jsonl").read_bytes()
    line = f"killed {kills} times with a checkpoint: {number} tensors, {len(differing)} differ; metrics equal: {same}"
    return not differing and same and kills > 0, line, {"differing": differing}


def kill_after_a_checkpoint(words: list[str], runs: Path) -> bool:
    """Start a training, kill it once it has written a checkpoint, and return whether it was still at work then."""
    checkpoint = runs / "killed/last.pt"
    written = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != written:
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(0.05)
    return False


def compare_checkpoints(first: Path, second: Path) -> tuple[int, list[str]]:
    """Return the number of tensors in a checkpoint, and the names of those that are not the same in another."""
    import torch

    def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple):
            for key, part in value.items() if isinstance(value, dict) else enumerate(value):
                yield from tensors(part, f"{name}.{key}")

    one, other = (dict(tensors(torch.load(p, map_location="cpu", weights_only=True))) for p in (first, second))
    return len(one), [name for name in one.keys() | other.keys() if not _equal(one.get(name), other.get(name))]


def _equal(one: Any, other: Any) -> bool:
    import torch

    return one is not None and other is not None and torch.equal(one, other)


def faults(check: Check) -> tuple[bool, str, dict[str, Any]]:
    """Try what can go wrong on a card, in one process; no case may end in a traceback."""
    words = [sys.executable, "scripts/gpu_faults.py", str(check.data64), str(check.data224), str(check.out / "faults")]
    rehearse = ["--rehearse"] if check.rehearse else []
    status, output, _ = check.process([*words, *rehearse], limit_s=600 if check.rehearse else 180, alone=False)
    rows = [json.loads(line) for line in output.splitlines() if line.startswith('{"case"')]
    for row in rows:
        print(f"     {row['case']}: {row['said']} ({row['seconds']} s)")
    tracebacks = [row["case"] for row in rows if row["said"].startswith("TRACEBACK")]
    line = f"{len(rows)} cases, {len(tracebacks)} tracebacks"
    line += f" ({', '.join(tracebacks)})" if tracebacks else ""
    return status == 0 and not tracebacks, line if status == 0 else f"{line}; {last_line(output)}", {"rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="small and on the CPU: do the steps run at all?")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-check")))
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA64 DATA224")
    asked = parser.parse_args()
    if len(asked.data) not in (0, 2):
        parser.error("name both data folders, of 64 and of 224 px, or none")
    import torch

    if not asked.rehearse and not torch.cuda.is_available():
        print(card_fault() or "there is no CUDA card here; --rehearse runs the steps small and on the CPU")
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    data64, data224 = asked.data or (Path(), Path())
    check = Check(asked.out, data64, data224, asked.rehearse)
    if not asked.data:
        share = 0.004 if asked.rehearse else 0.3
        check.data64 = embedded(check, 32 if asked.rehearse else 64, share)
        check.data224 = check.data64 if asked.rehearse else embedded(check, 224, share / 3)
    card = describe(torch.device(check.device))
    about = {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda, "commit": git_commit()}
    (check.out / "about.json").write_text(json.dumps({**about, "date": time.strftime("%Y-%m-%d")}, indent=2) + "\n")
    print(f"{card}, torch {torch.__version__}, commit {about['commit']}", flush=True)

    large, small = "resnet50", "resnet18"
    if asked.rehearse:
        large = small = str(asked.out / "tiny.toml")
        Path(small).write_text('base = "resnet18"\n[model]\nwidth = 0.125\n')
    # What measures time has the card alone; what does not shares it.
    check.step("scratch_best", lambda: train_best(check))
    check.step("benches", lambda: benches(check, large, small))
    steps = {"submission": submission, "gpu tests": gpu_tests, "kill and resume": resume, "faults": faults}
    with ThreadPoolExecutor(len(steps)) as together:
        list(together.map(lambda name: check.step(name, lambda: steps[name](check)), steps))
    failed = f"; failed: {', '.join(check.failed)}" if check.failed else ""
    print(f"{time.monotonic() - check.begin:.0f} s in all, JSON in {check.out}{failed}")
    return bool(check.failed)


if __name__ == "__main__":
    sys.exit(main())
