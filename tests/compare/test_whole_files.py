"""Files that the user asked for are written whole or not at all, also where a kill comes in between."""

import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from support import corolla_process

from corolla.cli import run_command

HALF = b"\x89PNG half"
WHOLE = b"of an earlier comparison"


def command(run: Path, out: Path) -> list[str]:
    return ["compare", str(run), "--out", str(out), "--device", "cpu", "--workers", "0"]


@pytest.mark.slow
def test_a_figure_that_fails_leaves_the_one_before(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.png").write_bytes(WHOLE)

    def fail(figure: Figure, path: Path, **how: object) -> None:
        Path(path).write_bytes(HALF)
        raise KeyError

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(KeyError):
        run_command(command(trained, tmp_path / "c"))
    assert (tmp_path / "c.png").read_bytes() == WHOLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "c.html", "c.json", "c.png"]


def test_a_table_that_can_not_be_written_leaves_the_one_before(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (csv := tmp_path / "runs.csv").write_bytes(WHOLE)
    write = Path.write_bytes

    def fill_the_disk(path: Path, content: bytes) -> int:
        write(path, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        run_command(["runs", str(trained.parent), "--csv", str(csv)])
    assert csv.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [csv]


KILLED = """
import sys, time
from pathlib import Path
from matplotlib.figure import Figure
from corolla.cli import run_command

def halfway(figure, path, **how):
    Path(path).write_bytes(b"\\x89PNG half")
    print("halfway", flush=True)
    time.sleep(600)

Figure.savefig = halfway
run_command(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_kill_while_the_figure_is_drawn(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (out := tmp_path / "out").mkdir()
    (out / "c.png").write_bytes(WHOLE)
    with corolla_process([sys.executable, "-c", KILLED, *command(run, out / "c")]) as process:
        assert process.stdout is not None
        assert "halfway\n" in iter(process.stdout.readline, "")
        process.kill()
        process.wait()
    assert (out / "c.png").read_bytes() == WHOLE
    assert [path.read_bytes() for path in out.glob(".c.png.*")] == [HALF]
    assert run_command(command(run, out / "c")) == 0
    assert (out / "c.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert sorted(path.name for path in out.iterdir()) == ["c.csv", "c.html", "c.json", "c.png"]
