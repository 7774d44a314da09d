"""Find Kaggle credentials and what is wrong with them, without keeping or showing a secret.

Where the client looks, and in which order, is read from kaggle 2.2.4 and 2.2.5 (`KaggleApi.authenticate`, and
kagglesdk's kaggle_env.py). Nothing here imports it: its import asks Kaggle who owns the token.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corolla.files import is_file
from corolla.kaggle.credential_files import (
    Environ,
    config_folders,
    filled_keys,
    has_text,
    is_there,
    kaggle_folder,
    kaggle_json,
    read_keys,
    secret_files,
    token_files,
)
from corolla.session import in_kaggle
from corolla.text_files import shell_words

SETTINGS = "https://www.kaggle.com/settings"
LEGACY = {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}  # key of kaggle.json → variable

Kind = Literal["access token", "legacy key", "OAuth"]


@dataclass(frozen=True)
class Credential:
    """A secret that the client can sign in with."""

    kind: Kind
    place: str
    remove: str  # the command that removes it


@dataclass(frozen=True)
class Fault:
    """A line that says what is wrong, and another that says what to do about it."""

    what: str
    remedy: str
    certain: bool = True
    """False where only Kaggle knows whether it does harm."""


def find_credentials(environ: Environ | None = None) -> list[Credential]:
    """Return all credentials, in the order in which the client uses them."""
    environ = os.environ if environ is None else environ
    return [*_tokens(environ), *_legacy_keys(environ), *_oauth(environ)]


def credential_faults(environ: Environ | None = None) -> list[Fault]:
    """Return what keeps credentials from being used, or gives them away; Kaggle is not asked whether they are valid."""
    environ = os.environ if environ is None else environ
    return [
        *_shadows(environ),
        *_token_faults(environ),
        *_json_faults(environ),
        *_lone_variables(environ),
        *_misplaced(environ),
        *_readable_by_others(environ),
        *_variable_faults(environ),
    ]


def how_to_get_credentials(environ: Environ | None = None) -> str:
    """Return one line: there are none, where to get some, and every place in which they are looked for.

    It begins with what is wrong with the kaggle.json that is there.
    """
    environ = os.environ if environ is None else environ
    home = kaggle_folder(environ)
    damaged = next(iter(_json_faults(environ)), None)
    return (f"{damaged.what}; {damaged.remedy}; " if damaged else "") + (
        f'no Kaggle credentials: make some at {SETTINGS} ("Create New Token") and put the token into '
        f"{home / 'access_token'} or KAGGLE_API_TOKEN; or a legacy key into {kaggle_json(environ)} (chmod 600) or "
        f"KAGGLE_USERNAME and KAGGLE_KEY; or run kaggle auth login, which writes {home / 'credentials.json'}"
    )


def _rm(path: Path | str) -> str:
    """Return the command that removes a file."""
    return shell_words("rm", Path(path))


def _chmod(path: Path) -> str:
    """Return the command that makes a file the user's alone."""
    return shell_words("chmod", "600", path)


def _tokens(environ: Environ) -> Iterator[Credential]:
    """Yield the access tokens in the client's order."""
    in_notebook = in_kaggle(environ) and "KAGGLE_DATA_PROXY_URL" in environ  # as the client tests it
    given = environ.get("KAGGLE_API_V1_TOKEN")
    if in_notebook and given and has_text(given):
        yield Credential("access token", f"{given}, named by KAGGLE_API_V1_TOKEN", "unset KAGGLE_API_V1_TOKEN")
    token = environ.get("KAGGLE_API_TOKEN")
    if token and is_there(token):
        if not has_text(token):
            return  # the client then looks no further for tokens
        yield Credential("access token", f"{token}, named by KAGGLE_API_TOKEN", "unset KAGGLE_API_TOKEN")
    elif token:
        yield Credential("access token", "KAGGLE_API_TOKEN in the environment", "unset KAGGLE_API_TOKEN")
    for path in token_files(environ):
        if has_text(path):
            yield Credential("access token", str(path), _rm(path))


def _legacy_keys(environ: Environ) -> Iterator[Credential]:
    """Yield the legacy keys; name and key may come from different places, each from the environment before the file."""
    path = kaggle_json(environ)
    in_file = filled_keys(path) & LEGACY.keys()
    set_ = {key for key, variable in LEGACY.items() if variable in environ}
    in_environ = {key for key in set_ if environ[LEGACY[key]]}
    if in_environ == LEGACY.keys():
        variables = "KAGGLE_USERNAME and KAGGLE_KEY in the environment"
        yield Credential("legacy key", variables, "unset KAGGLE_USERNAME KAGGLE_KEY")
    elif in_environ and set_ == in_environ and in_file | in_environ == LEGACY.keys():
        (key,) = in_environ
        (other,) = LEGACY.keys() - in_environ
        place = f"{LEGACY[key]} in the environment with the {other} in {path}"
        yield Credential("legacy key", place, f"unset {LEGACY[key]}")
    if in_file == LEGACY.keys() and set_ == in_environ:  # an empty variable hides what the file holds
        yield Credential("legacy key", str(path), _rm(path))


def _oauth(environ: Environ) -> Iterator[Credential]:
    """Yield the credentials that `kaggle auth login` writes."""
    path = kaggle_folder(environ) / "credentials.json"
    if "refresh_token" in filled_keys(path):
        yield Credential("OAuth", str(path), _rm(path))


def _shadows(environ: Environ) -> Iterator[Fault]:
    """Yield a token that hides a legacy key."""
    token, key = next(_tokens(environ), None), next(_legacy_keys(environ), None)
    if token and key:
        what = f"the access token ({token.place}) is sent instead of the legacy key ({key.place})"
        what += "; once it is stale it disables the good key"
        yield Fault(what, f"{token.remove}, or {key.remove}", certain=False)


def _token_faults(environ: Environ) -> Iterator[Fault]:
    """Yield faults of KAGGLE_API_TOKEN and of token files."""
    token = environ.get("KAGGLE_API_TOKEN", "")
    files = {str(path): _rm(path) for path in token_files(environ)}
    if token and not token.strip():
        yield Fault("KAGGLE_API_TOKEN is blank, and sent as the token all the same", "unset KAGGLE_API_TOKEN")
    elif is_there(token):
        files = {token: "unset KAGGLE_API_TOKEN"} | files
    elif token.startswith(("/", "~", "./", "../")):
        what = "KAGGLE_API_TOKEN looks like a path, but there is no such file, so the path is sent as the token"
        yield Fault(what, "unset KAGGLE_API_TOKEN, or name a file that is there")
    for path, remove in files.items():
        if is_there(path) and not (text := has_text(path)):
            reason = "can't be read as text" if text is None else "is empty"
            yield Fault(f"{path}: the token file {reason}", f"{remove}, or put a token there ({SETTINGS})")


def _json_faults(environ: Environ) -> Iterator[Fault]:
    """Yield faults of kaggle.json."""
    path = kaggle_json(environ)
    remedy = f'replace {path} with the kaggle.json of {SETTINGS}, or {{"username": ..., "key": ...}}; or {_rm(path)}'
    try:
        keys = read_keys(path)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Fault(f"{path}: can't be read ({error.strerror})", _chmod(path))
    except ValueError as error:
        yield Fault(f"{path}: {error}, and the client passes over it without a word", remedy)
    else:
        if missing := [key for key, variable in LEGACY.items() if not keys.get(key) and not environ.get(variable)]:
            yield Fault(f"{path}: holds no {' and no '.join(missing)}", remedy)
        if "token" in keys:
            yield Fault(f"{path}: its token is sent instead of the key", f"take the entry token out of {path}")


def _lone_variables(environ: Environ) -> Iterator[Fault]:
    """Yield variables of the legacy key that are empty or without the other."""
    in_file = filled_keys(kaggle_json(environ))
    for key, variable in LEGACY.items():
        (other,) = LEGACY.keys() - {key}
        if variable in environ and not environ[variable]:
            yield Fault(f"{variable} is set but empty, and hides the {key} of kaggle.json", f"unset {variable}")
        elif variable in environ and LEGACY[other] not in environ and other not in in_file and not [*_tokens(environ)]:
            what = f"{variable} is set, but there is no {other} beside it"
            yield Fault(what, f"set {LEGACY[other]} too (make a key at {SETTINGS}), or unset {variable}")


def _misplaced(environ: Environ) -> Iterator[Fault]:
    """Yield credentials in places where the client does not look."""
    wanted = kaggle_json(environ)
    others = [folder / "kaggle.json" for folder in config_folders(environ)[1:]]
    unread = [(path, wanted) for path in others if is_there(path) and path != wanted and not is_there(wanted)]
    if environ.get("KAGGLE_CONFIG_DIR"):
        token = Path(environ["KAGGLE_CONFIG_DIR"]) / "access_token"
        target = token_files(environ)[0]
        unread += [(token, target)] if is_there(token) and not is_there(target) else []
    if not find_credentials(environ):
        for path, target in unread:
            make = "" if is_there(target.parent) else f"{shell_words('mkdir', '-p', target.parent)} && "
            yield Fault(f"{path}: is not read there", make + shell_words("mv", path, target))


def _readable_by_others(environ: Environ) -> Iterator[Fault]:
    """Yield files with secrets that other users can read, also where the client passes over the file."""
    if os.name == "nt":  # the mode says nothing there
        return
    for path in secret_files(environ):
        if is_file(path) and path.stat().st_mode & 0o044:
            yield Fault(f"{path}: other users of this machine can read it", _chmod(path))


def _variable_faults(environ: Environ) -> Iterator[Fault]:
    """Yield other variables that lead the client astray."""
    if "KAGGLE_TOKEN" in environ:
        yield Fault("KAGGLE_TOKEN is set: the client sends it instead of the key", "unset KAGGLE_TOKEN")
    verbose = environ.get("VERBOSE") or environ.get("VERBOSE_OUTPUT") or ""
    if verbose.lower() in ("1", "true", "yes"):
        what = "VERBOSE makes the kaggle command print your key with every request (corolla unsets it for itself)"
        yield Fault(what, "unset VERBOSE VERBOSE_OUTPUT")
    if environ.get("KAGGLE_API_ENVIRONMENT") not in (None, "", "PROD", "LOCALHOST"):
        what = "KAGGLE_API_ENVIRONMENT is neither PROD nor LOCALHOST: the client goes to the real Kaggle all the same"
        yield Fault(what, "unset KAGGLE_API_ENVIRONMENT")
