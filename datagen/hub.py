"""Pushes the folder of a data set or of a model to the Hugging Face Hub as one commit.

Whatever goes wrong there leaves this module as a HubError of one line; the token is in none of them.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from datagen.card import CONFIGS, is_blank, is_generated, license_of
from datagen.errors import HubError, InputError, UsageError
from datagen.licenses import check_license

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetInfo, HfApi, ModelInfo

Answer = TypeVar("Answer")

CARD, NEW_CARD = "README.md", "README.new.md"
WAITS = (1.0, 5.0)
"""Seconds before the second and the third try of a push that the Hub or the network broke off."""

_REPO = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?<![.-])(?<!\.git)", re.ASCII)
_ADVICE = {
    400: "Correct what it names and push again",
    401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    402: "Look at your plan and storage on the Hub",
    403: "Use a token that may write to this namespace: `hf auth login`",
    404: "Check the name; NAME is your user name or an organisation that you belong to",
    409: "Someone else committed meanwhile: run the same command again",
    412: "Someone else committed meanwhile: run the same command again",
    429: "The Hub limits your rate: wait a few minutes and run the same command again",
}
_AGAIN = "Run the same command again; files that have arrived are not sent twice"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What tells a repository of data from one of a model: the Hub's name for it, ours, and its shards.

    `shard` matches the files that a later push replaces or deletes; a folder without any is refused with `missing` and
    `make`. `unlicensed` is what to do about a card without a licence.
    """

    hub: str
    name: str
    example: str
    shard: re.Pattern[str]
    missing: str
    make: str
    unlicensed: str


_DATASET = _Kind(
    "dataset", "data set", "NAME/DATASET, such as ada/python-questions",
    re.compile(
        rf"(?:{'|'.join(Path(path).parent.name for path in CONFIGS.values())})/train-\d{{5}}-of-\d{{5}}\.parquet"
    ),
    "holds no exported data set", "Run `datagen export` first",
    "Choose one: run `datagen export --license apache-2.0`, or add `license:` to a card that you edited",
)  # fmt: skip
_MODEL = _Kind(
    "model", "model", "NAME/MODEL, such as ada/python-7b",
    re.compile(r"model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"),
    "holds no saved model and card", "Give the folder `model` that `datagen finetune` wrote",
    "Choose one that the base model's licence allows: `license: NAME` in the card's front matter, or "
    "`datagen finetune --license NAME` next time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pushed:
    """The address of the repository, and what the user should know (empty: nothing). Prints as the address."""

    url: str
    message: str = ""

    def __str__(self) -> str:
        return self.url


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    revision: str = "main",
    message: str = "Upload data set made with datagen",
    wait: Callable[[float], None] = time.sleep,
) -> Pushed:
    """Makes the data set `repo` ("NAME/DATASET") hold what `folder` holds, in one commit on the branch `revision`.

    Shards that an earlier push left and this one does not replace go in the same commit; other files on the Hub stay. A
    card that was edited on the Hub stays too, and ours becomes README.new.md there. A repository that does not exist is
    made, `private` if asked. The token is that of `hf auth login` or HF_TOKEN. Raises UsageError for a malformed name
    or a card without a licence, InputError for a folder that is no data set, HubError for everything on the way.
    """
    return _push(_DATASET, folder, repo, private, revision, message, wait)


def push_model(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    message: str = "Upload model tuned with datagen",
    wait: Callable[[float], None] = time.sleep,
) -> Pushed:
    """Makes the model `repo` ("NAME/MODEL") hold what `folder` holds: weights, tokenizer and card, in one commit.

    As `push`, in everything; the shards are those of weights.
    """
    return _push(_MODEL, folder, repo, private, "main", message, wait)


def _push(
    kind: _Kind, folder: Path, repo: str, private: bool, revision: str, message: str, wait: Callable[[float], None]
) -> Pushed:
    _check(kind, folder, repo)
    token = _token(repo)
    with _one_line(repo, token):
        api = _api(token)
        return _retried(lambda: _push_once(kind, api, folder, repo, private, revision, message), wait)


def _check(kind: _Kind, folder: Path, repo: str) -> None:
    if not _REPO.fullmatch(repo):
        raise UsageError(f"{repo!r} is no name of a {kind.name}", hint=f"Give {kind.example}")
    if not (folder / CARD).is_file() or not any(kind.shard.fullmatch(name) for name in _files(folder)):
        raise InputError(kind.missing, where=str(folder), hint=kind.make)
    chosen = license_of((folder / CARD).read_text(encoding="utf-8", errors="replace"))
    if not chosen:
        what = "the card names no licence, and none is guessed"
        raise UsageError(what, where=str(folder / CARD), hint=kind.unlicensed)
    check_license(chosen)


def _files(folder: Path) -> list[str]:
    """What is published: every file but hidden ones and the card that waits beside a hand-edited one."""
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        path.as_posix() for path in paths if path.name != NEW_CARD and not any(p.startswith(".") for p in path.parts)
    ]


def _token(repo: str) -> str:
    from huggingface_hub import get_token

    with _one_line(repo, ""):
        token = get_token()
    if not token:
        raise HubError("you are not logged in to the Hub", where=repo, hint=_ADVICE[401])
    if not (token.isascii() and token.isprintable()):
        raise HubError("your token holds a character that no token has", where=repo, hint=_ADVICE[401])
    return token


def _api(token: str) -> HfApi:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi(token=token)


def _push_once(kind: _Kind, api: HfApi, folder: Path, repo: str, private: bool, revision: str, message: str) -> Pushed:
    """One try. It starts from what the Hub holds now, so a try after a lost answer changes nothing twice."""
    url = api.create_repo(repo, repo_type=kind.hub, private=private or None, exist_ok=True)
    if revision != "main":
        api.create_branch(repo, branch=revision, repo_type=kind.hub, exist_ok=True)
    there: DatasetInfo | ModelInfo = (
        api.model_info(repo, revision=revision) if kind is _MODEL else api.dataset_info(repo, revision=revision)
    )
    if private and not there.private:
        hint = "Make it private in its settings on the Hub, or push without --private"
        raise HubError(f"{repo} exists already and is public; nothing was pushed", hint=hint)
    remote = {sibling.rfilename for sibling in there.siblings or ()}
    keep = CARD in remote and _edited_there(kind, api, repo, there.sha, folder)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *_additions(folder, keep),
        *_deletions(kind, folder, remote, keep),
    ]
    api.create_commit(
        repo, operations, commit_message=message, repo_type=kind.hub, revision=revision, parent_commit=there.sha
    )
    kept = f"the card of {repo} was edited on the Hub and is kept; the new card is {NEW_CARD} beside it"
    return Pushed(str(url), kept if keep else "")


def _edited_there(kind: _Kind, api: HfApi, repo: str, sha: str | None, folder: Path) -> bool:
    """Whether the card on the Hub holds words that are neither ours nor in the folder's card."""
    with TemporaryDirectory() as cache:
        path = api.hf_hub_download(repo, CARD, repo_type=kind.hub, revision=sha, cache_dir=cache)
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    here = (folder / CARD).read_text(encoding="utf-8", errors="replace")
    return not (is_generated(text) or is_blank(text) or text == here)


def _additions(folder: Path, keep: bool) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    names = {name: NEW_CARD if keep and name == CARD else name for name in _files(folder)}
    return [CommitOperationAdd(there, folder / here) for here, there in names.items()]


def _deletions(kind: _Kind, folder: Path, remote: set[str], keep: bool) -> list[CommitOperationDelete]:
    """What earlier pushes left behind: shards of other counts, and a waiting card that no longer waits."""
    from huggingface_hub import CommitOperationDelete

    stale = {name for name in remote if kind.shard.fullmatch(name)} - set(_files(folder))
    stale |= {NEW_CARD} & remote if not keep else set()
    return [CommitOperationDelete(name) for name in sorted(stale)]


def _retried(attempt: Callable[[], Answer], wait: Callable[[float], None]) -> Answer:
    """The attempt's answer; a break of the connection or a failure of the Hub itself is tried again after WAITS."""
    for pause in WAITS:
        try:
            return attempt()
        except _errors() as error:
            if not _passes(error):
                raise
            wait(pause)
    return attempt()


def _errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets out: its own errors, plain ones, and those of its HTTP library (httpx or httpx2)."""
    from huggingface_hub import errors

    own = getattr(errors, "OIDCError", OSError)  # not in every version
    return (errors.HfHubHTTPError.__bases__[0], own, OSError, RuntimeError, ValueError, KeyError)


def _cause(error: BaseException) -> BaseException:
    """The error below those that only say which file was on its way."""
    while isinstance(error, (RuntimeError, FileNotFoundError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _broke_off(error: BaseException) -> bool:
    """Whether no whole answer came: no connection, a cut one, or half a document."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, (HfHubHTTPError.__bases__[0], ConnectionError, json.JSONDecodeError))


def _passes(error: BaseException) -> bool:
    """Whether trying again can help: the Hub's own failures and broken connections, unless offline by choice."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    error = _cause(error)
    if status := _status(error):
        return status >= 500 or status == 429
    return _broke_off(error) and not isinstance(error, OfflineModeIsEnabled)


@contextmanager
def _one_line(repo: str, token: str) -> Iterator[None]:
    """Turns every error of huggingface_hub into a HubError that says what to do, without the token."""
    try:
        yield
    except _errors() as error:
        what, hint = _explained(_cause(error))
        raise HubError(what.replace(token, "[token]") if token else what, where=repo, hint=hint) from error


def _explained(error: BaseException) -> tuple[str, str]:
    """What happened, and what to do about it."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "the Hub is switched off by HF_HUB_OFFLINE", "Unset it and push again"
    if status := _status(error):
        said = getattr(error, "server_message", None) or "without a word"
        return f"the Hub answered {status}: {said[:300]}", _ADVICE.get(status, _AGAIN)
    said = f"{type(error).__name__}: {str(error)[:300]}"
    if _broke_off(error):
        return f"no answer from {constants.ENDPOINT} ({said})", f"Check the network. {_AGAIN}"
    return f"the push failed ({said})", "Correct what it names and push again"
