"""Which credentials are found, in which order, what is wrong with them; and that no secret is ever shown."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kagglesdk.kaggle_env import get_access_token_from_env  # without the network, unlike kaggle

from corolla.kaggle.credentials import credential_faults, find_credentials, how_to_get_credentials

SECRET = "s3cret-never-to-be-shown"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".kaggle").mkdir()
    return tmp_path


def put(home: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = home / name if "/" in name else home / ".kaggle" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def legacy(**entries: str) -> str:
    return json.dumps(entries or {"username": "ann", "key": SECRET})


def env(home: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(home), **variables}


def places(environ: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(found.kind, found.place, found.remove) for found in find_credentials(environ)]


def faults(environ: dict[str, str]) -> list[str]:
    found = credential_faults(environ)
    assert all(fault.remedy and "\n" not in fault.what + fault.remedy for fault in found)
    return [f"{fault.what} -> {fault.remedy}" for fault in found]


def one_fault(environ: dict[str, str]) -> str:
    (fault,) = faults(environ)
    return fault


def test_a_clean_home_has_neither_credentials_nor_faults(home: Path):
    assert find_credentials(env(home)) == []
    assert credential_faults(env(home)) == []


def test_all_are_found_in_the_order_of_their_use(home: Path):
    notebook = put(home, "secrets/token", SECRET)
    paths = [put(home, name, SECRET) for name in ("access_token", "access_token.txt")]
    key, oauth = put(home, "kaggle.json", legacy()), put(home, "credentials.json", legacy(refresh_token=SECRET))
    environ = env(
        home,
        KAGGLE_KERNEL_RUN_TYPE="Interactive",
        KAGGLE_DATA_PROXY_URL="https://x",
        KAGGLE_API_V1_TOKEN=str(notebook),
        KAGGLE_API_TOKEN=SECRET,
        KAGGLE_USERNAME="ann",
        KAGGLE_KEY=SECRET,
    )
    assert places(environ) == [
        ("access token", f"{notebook}, named by KAGGLE_API_V1_TOKEN", "unset KAGGLE_API_V1_TOKEN"),
        ("access token", "KAGGLE_API_TOKEN in the environment", "unset KAGGLE_API_TOKEN"),
        *(("access token", str(path), f"rm {path}") for path in paths),
        ("legacy key", "KAGGLE_USERNAME and KAGGLE_KEY in the environment", "unset KAGGLE_USERNAME KAGGLE_KEY"),
        ("legacy key", str(key), f"rm {key}"),
        ("OAuth", str(oauth), f"rm {oauth}"),
    ]
    del environ["KAGGLE_DATA_PROXY_URL"]  # then the client does not take it for a notebook
    assert places(environ)[0][1] == "KAGGLE_API_TOKEN in the environment"


def test_a_token_variable_may_name_a_file(home: Path):
    path = put(home, "elsewhere/token", SECRET)
    (found,) = find_credentials(env(home, KAGGLE_API_TOKEN=str(path)))
    assert found.place == f"{path}, named by KAGGLE_API_TOKEN"


def test_name_and_key_may_come_from_different_places(home: Path):
    path = put(home, "kaggle.json", legacy(username="ann"))
    environ = env(home, KAGGLE_KEY=SECRET)
    assert places(environ) == [
        ("legacy key", f"KAGGLE_KEY in the environment with the username in {path}", "unset KAGGLE_KEY")
    ]
    assert faults(environ) == []


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="elsewhere there is no XDG folder")
def test_the_folder_of_kaggle_json(tmp_path: Path):
    xdg = put(tmp_path, ".config/kaggle/kaggle.json", legacy())
    assert [c.place for c in find_credentials(env(tmp_path))] == [str(xdg)]
    other = put(tmp_path, "xdg/kaggle/kaggle.json", legacy())
    assert [c.place for c in find_credentials(env(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg")))] == [str(other)]
    chosen = put(tmp_path, "chosen/kaggle.json", legacy())
    assert [c.place for c in find_credentials(env(tmp_path, KAGGLE_CONFIG_DIR=str(chosen.parent)))] == [str(chosen)]
    (tmp_path / ".kaggle").mkdir()  # an empty one hides the XDG folder
    assert find_credentials(env(tmp_path)) == []
    assert one_fault(env(tmp_path)) == f"{xdg}: is not read there -> mv {xdg} {tmp_path / '.kaggle' / 'kaggle.json'}"


def test_a_token_beside_the_config_folder_is_not_read(home: Path):
    path = put(home, "config/access_token", SECRET)
    environ = env(home, KAGGLE_CONFIG_DIR=str(path.parent))
    assert find_credentials(environ) == []
    assert f"mv {path} {home / '.kaggle' / 'access_token'}" in one_fault(environ)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"username": "ann", "key": "' + SECRET, "is not valid JSON (line 1, column 28)"),
        ("", "is not valid JSON (line 1, column 1)"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        (f'["{SECRET}"]', "holds no JSON object"),
        ('{"username": "ann"}', "holds no key"),
        ('{"key": "' + SECRET + '", "username": ""}', "holds no username"),
        ("{}", "holds no username and no key"),
    ],
)
def test_a_bad_kaggle_json_is_named_with_the_reason(home: Path, content: str | bytes, reason: str):
    path = put(home, "kaggle.json", content)
    assert find_credentials(env(home)) == []
    fault = one_fault(env(home))
    assert fault.startswith(f"{path}: {reason}")
    assert "https://www.kaggle.com/settings" in fault


@given(
    content=st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["username", "key", "token", "x"]), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_kaggle_json_holds_it_is_a_credential_or_a_fault(home: Path, content: bytes):
    put(home, "kaggle.json", content)
    put(home, "credentials.json", content)
    put(home, "access_token", b"")
    assert any(str(found.place).endswith("kaggle.json") for found in find_credentials(env(home))) != any(
        "kaggle.json: is" in fault.what or "kaggle.json: holds" in fault.what for fault in credential_faults(env(home))
    )


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", "credentials.json"])
@pytest.mark.parametrize("mode", [0o604, 0o640])
def test_a_file_that_others_can_read(home: Path, name: str, mode: int):
    path = put(home, name, legacy(username="ann", key=SECRET, refresh_token=SECRET), mode)
    assert f"{path}: other users of this machine can read it -> chmod 600 {path}" in one_fault(env(home))


def kaggle_json_of_the_variable(home: Path) -> tuple[Path, dict[str, str]]:
    path = put(home, "my config/kaggle.json", legacy(), 0o644)
    return path, {"KAGGLE_CONFIG_DIR": str(path.parent)}


def kaggle_json_that_is_passed_over(home: Path) -> tuple[Path, dict[str, str]]:
    chosen = put(home, "config/kaggle.json", legacy())
    return put(home, "kaggle.json", legacy(), 0o644), {"KAGGLE_CONFIG_DIR": str(chosen.parent)}


def token_that_is_passed_over(home: Path) -> tuple[Path, dict[str, str]]:
    chosen = put(home, "config/kaggle.json", legacy())
    path = put(home, "config/access_token", SECRET, 0o640)
    return path, {"KAGGLE_CONFIG_DIR": str(chosen.parent)}


def token_of_the_variable(home: Path) -> tuple[Path, dict[str, str]]:
    path = put(home, "else where/it's", SECRET, 0o666)
    return path, {"KAGGLE_API_TOKEN": str(path)}


@pytest.mark.parametrize(
    "place",
    [
        kaggle_json_of_the_variable,
        kaggle_json_that_is_passed_over,
        token_that_is_passed_over,
        token_of_the_variable,
    ],
)
def test_a_file_elsewhere_that_others_can_read(
    home: Path, place: Callable[[Path], tuple[Path, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home)
    path, variables = place(home)
    found = [each for each in credential_faults(env(home, **variables)) if "can read it" in each.what]
    assert [each.what for each in found] == [f"{path}: other users of this machine can read it"]
    assert found[0].certain
    subprocess.run(found[0].remedy, shell=True, check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each for each in credential_faults(env(home, **variables)) if "can read it" in each.what] == []


@pytest.mark.parametrize("folder", ["-rf", "two  blanks", "it's $HOME", "-n a"])
@pytest.mark.parametrize("kind", ["remove", "chmod", "mv", "mv to a new folder"])
def test_commands_can_be_pasted_whatever_the_folders_name(
    kind: str, folder: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home)
    path, environ = Path(folder) / "kaggle.json", env(home, KAGGLE_CONFIG_DIR=folder)
    if kind == "remove":
        put(home, str(path), legacy())
        command = find_credentials(environ)[0].remove
    elif kind == "chmod":
        put(home, str(path), legacy(), 0o644)
        command = next(fault.remedy for fault in credential_faults(environ))
    else:
        put(home, "kaggle.json", legacy())
        if kind == "mv":
            Path(folder).mkdir()
        command = next(fault.remedy for fault in credential_faults(environ))
    subprocess.run(command, shell=True, check=True)
    assert credential_faults(environ) == []
    assert path.exists() == (kind != "remove")


@pytest.mark.parametrize("variable", ["KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "KAGGLE_API_TOKEN", "HOME"])
@pytest.mark.parametrize("value", ["x" * 300, "/dev/null", "loop/x"])
def test_a_variable_that_names_no_folder_is_no_traceback(
    variable: str, value: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(home)
    Path("loop").symlink_to("loop")
    environ = env(home) | {variable: value}
    assert len(find_credentials(environ)) == (variable == "KAGGLE_API_TOKEN" and value != "/dev/null")
    assert all("\n" not in fault.what + fault.remedy for fault in credential_faults(environ))
    assert "no Kaggle credentials" in how_to_get_credentials(environ)


def test_a_token_shadows_a_legacy_key(home: Path):
    token, key = put(home, "access_token", SECRET), put(home, "kaggle.json", legacy())
    fault = one_fault(env(home))
    assert fault.startswith(f"the access token ({token}) is sent instead of the legacy key ({key})")
    assert "stale" in fault
    assert f"-> rm {token}, or rm {key}" in fault


def test_an_empty_token_file(home: Path):
    path = put(home, "access_token", " \n")
    assert one_fault(env(home)).startswith(f"{path}: the token file is empty -> rm {path}, or")
    assert find_credentials(env(home)) == []


def test_an_empty_file_named_by_the_variable_hides_the_other_tokens(home: Path):
    empty = put(home, "elsewhere/token", "")
    put(home, "access_token", SECRET)
    environ = env(home, KAGGLE_API_TOKEN=str(empty))
    assert find_credentials(environ) == []
    assert one_fault(environ).startswith(f"{empty}: the token file is empty -> unset KAGGLE_API_TOKEN")


@pytest.mark.parametrize(
    ("variables", "what", "remedy"),
    [
        ({"KAGGLE_TOKEN": SECRET}, "KAGGLE_TOKEN is set", "unset KAGGLE_TOKEN"),
        ({"VERBOSE": "1"}, "VERBOSE makes the kaggle command print your key", "unset VERBOSE VERBOSE_OUTPUT"),
        ({"VERBOSE_OUTPUT": "True"}, "VERBOSE makes the kaggle command", "unset VERBOSE VERBOSE_OUTPUT"),
        ({"KAGGLE_API_ENVIRONMENT": SECRET}, "the client goes to the real Kaggle", "unset KAGGLE_API_ENVIRONMENT"),
        ({"KAGGLE_USERNAME": "ann"}, "KAGGLE_USERNAME is set, but there is no key", "set KAGGLE_KEY too"),
        ({"KAGGLE_KEY": SECRET}, "KAGGLE_KEY is set, but there is no username", "set KAGGLE_USERNAME too"),
        ({"KAGGLE_KEY": "", "KAGGLE_USERNAME": "ann"}, "KAGGLE_KEY is set but empty", "unset KAGGLE_KEY"),
        ({"KAGGLE_API_TOKEN": " "}, "KAGGLE_API_TOKEN is blank", "unset KAGGLE_API_TOKEN"),
        ({"KAGGLE_API_TOKEN": f"/no/{SECRET}"}, "KAGGLE_API_TOKEN looks like a path", "unset KAGGLE_API_TOKEN"),
    ],
)
def test_a_variable_at_fault(home: Path, variables: dict[str, str], what: str, remedy: str):
    fault = one_fault(env(home, **variables))
    assert what in fault
    assert f"-> {remedy}" in fault
    assert SECRET not in fault


@pytest.mark.parametrize(
    "variables",
    [{"VERBOSE": "0"}, {"KAGGLE_API_ENVIRONMENT": "LOCALHOST"}, {"KAGGLE_USERNAME": "ann", "KAGGLE_API_TOKEN": SECRET}],
)
def test_variables_that_do_no_harm(home: Path, variables: dict[str, str]):
    assert faults(env(home, **variables)) == []


def test_how_to_get_credentials_is_one_line_with_every_place(home: Path):
    line = how_to_get_credentials(env(home))
    assert "\n" not in line
    files = [str(home / ".kaggle" / name) for name in ("access_token", "kaggle.json", "credentials.json")]
    variables = ["KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"]
    for place in ("https://www.kaggle.com/settings", "Create New Token", *variables, *files):
        assert place in line


@given(
    present=st.sets(st.sampled_from(["access_token", "access_token.txt", "kaggle.json", "credentials.json"])),
    variables=st.dictionaries(
        st.sampled_from(
            [
                "KAGGLE_API_TOKEN",
                "KAGGLE_KEY",
                "KAGGLE_TOKEN",
                "KAGGLE_API_ENVIRONMENT",
                "VERBOSE",
                "KAGGLE_API_V1_TOKEN",
            ]
        ),
        st.sampled_from([SECRET, SECRET * 50, f"/{SECRET}", f" {SECRET}\n"]),
    ),
    content=st.sampled_from([SECRET, legacy(), legacy(refresh_token=SECRET), legacy(key=SECRET), legacy()[:-1]]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_shown_wherever_it_stands(home: Path, present: set[str], variables: dict[str, str], content: str):
    for path in (home / ".kaggle").iterdir():
        path.unlink()
    for name in present:
        put(home, name, content, 0o644)
    environ = env(home, **variables, KAGGLE_KERNEL_RUN_TYPE="Batch", KAGGLE_DATA_PROXY_URL="x")
    shown = f"{find_credentials(environ)}{credential_faults(environ)}{how_to_get_credentials(environ)}"
    assert SECRET not in shown


@given(
    files=st.dictionaries(
        st.sampled_from(["access_token", "access_token.txt", "other"]), st.sampled_from(["", SECRET])
    ),
    variable=st.sampled_from([None, "", SECRET, "HOME/.kaggle/other"]),
    notebook=st.sampled_from([None, "HOME/.kaggle/other", "HOME/.kaggle/missing"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_client_finds_a_token_where_this_does(
    home: Path, files: dict[str, str], variable: str | None, notebook: str | None
):
    for path in (home / ".kaggle").iterdir():
        path.unlink()
    for name, content in files.items():
        put(home, name, content)
    environ = env(home, **({} if variable is None else {"KAGGLE_API_TOKEN": variable.replace("HOME", str(home))}))
    if notebook is not None:
        environ |= {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KAGGLE_DATA_PROXY_URL": "x"}
        environ["KAGGLE_API_V1_TOKEN"] = notebook.replace("HOME", str(home))
    with mock.patch.dict(os.environ, environ, clear=True):
        token, source = get_access_token_from_env()
    found = find_credentials(environ)
    assert bool(token) == bool(found)
    assert not token or str(source) in found[0].place


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'\xef\xbb\xbf{"username": "ann", "key": "k"}', "it begins with a byte order mark, as Notepad writes it"),
        ('{"username": "ann", "key": "k"}'.encode("utf-16"), "it begins with a byte order mark"),
        (b'{"username": "ann", "ke', "is not valid JSON (line 1, column 21)"),
        (b"[]", "holds no JSON object"),
    ],
)
def test_where_there_are_none_the_damaged_file_is_named_first(content: bytes, reason: str, home: Path) -> None:
    path = home / ".kaggle" / "kaggle.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    line = how_to_get_credentials(env(home))
    assert line.startswith(f"{path}: ")
    assert reason in line
    assert "; no Kaggle credentials: make some" in line


def test_a_pipe_in_place_of_credentials_is_not_waited_for(home: Path) -> None:
    path = home / ".kaggle" / "kaggle.json"
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    os.mkfifo(path.with_name("access_token"))
    assert find_credentials(env(home)) == []
    assert any("is not a regular file" in fault.what for fault in credential_faults(env(home)))
