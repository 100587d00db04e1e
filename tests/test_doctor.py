"""What `datagen doctor` makes of a machine: healthy, lacking, broken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from datagen.doctor import (
    Check,
    check_gpu,
    check_machine,
    check_python,
    check_sandbox,
    check_secrets,
    check_shared_memory,
    check_strays,
    check_torch,
    check_transformers,
    check_vllm,
    checks,
    imported,
    render,
)

TORCH = {"version": "2.13.0+cpu", "cuda": None, "gpus": []}
ABSENT = {"error": "ModuleNotFoundError: No module named 'vllm'", "absent": True}
NMS = {"error": "RuntimeError: operator torchvision::nms does not exist"}
FINE = {"torchvision": ABSENT, "torchaudio": ABSENT, "torchcodec": {"version": "1"}}


@pytest.mark.parametrize(("version", "status"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 14, 0), "ok")])
def test_the_python_version_counts(version: tuple[int, ...], status: str):
    """3.11 is the oldest."""
    assert check_python(version).status == status


def test_tight_memory_is_a_warning():
    """The demo wants 4 GiB."""
    assert check_machine(2, 3 << 30, 100 << 30).status == "warn"
    assert check_machine(2, 5 << 30, 100 << 30).status == "ok"


def test_missing_shared_memory_is_a_warning(tmp_path: Path):
    """A machine without /dev/shm is told so."""
    assert check_shared_memory(tmp_path / "none").status == "warn"


def test_torch_says_what_it_was_built_for():
    """CPU or a CUDA version."""
    assert check_torch(TORCH).detail.endswith("built for CPU")
    assert check_torch(TORCH | {"cuda": "13.0"}).detail.endswith("built for CUDA 13.0")


def test_a_gpu_that_torch_does_not_see_is_a_warning():
    """A driver beside a CPU build is most often a mistake; no driver is none."""
    assert check_gpu(TORCH, driver=True).status == "warn"
    assert check_gpu(TORCH, driver=False).status == "ok"
    assert check_gpu(TORCH | {"gpus": ["H200 (139 GiB)"]}, driver=True).detail == "H200 (139 GiB)"


def test_a_broken_torchvision_is_named_with_its_cure():
    """Builds that do not fit break `import transformers`."""
    (check,) = check_strays(FINE | {"torchvision": NMS})
    assert check.status == "fail" and check.hint.endswith("pip uninstall torchvision")
    assert check_strays(FINE) == []


def test_transformers_broken_by_torchvision_is_explained():
    """Its own message would not help."""
    assert "pip uninstall torchvision" in check_transformers(NMS).hint


def test_a_missing_vllm_is_a_warning():
    """A server can answer instead."""
    check = check_vllm(ABSENT)
    assert check.status == "warn" and "--engine server" in check.hint


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("0.32.0", "ok"),
        ("0.20.2", "ok"),
        ("0.33.1+cu130", "ok"),
        ("0.20.1", "warn"),
        ("0.34.0", "warn"),
        ("1.0", "warn"),
    ],
)
def test_the_range_of_vllm_versions(version: str, status: str):
    """Older and newer ones may work; nobody tried."""
    assert check_vllm({"version": version, "device": "cpu"}).status == status


def test_a_gpu_build_of_vllm_without_a_gpu_fails():
    """It cannot run here; the CPU build can."""
    check = check_vllm({"version": "0.32.0", "device": ""})
    assert check.status == "fail" and "datagen[cpu]" in check.hint


def test_the_sandbox_is_recognised_as_ours():
    """The package of that name is the one beside datagen."""
    assert "another package" not in check_sandbox().detail


def test_secrets_are_counted_and_not_told():
    """yes or no, nothing else."""
    found = render(check_secrets({"OPENAI_API_KEY": "sk-secret"}, hub_token=True))
    assert "secret" not in found and " set" in found


def test_hints_stand_under_what_needs_them():
    """A finding that is ok shows no hint."""
    found = [Check("a", "ok", "fine", "never shown"), Check("b", "fail", "bad", "do this")]
    assert render(found).splitlines() == ["ok    a              fine", "fail  b              bad", " " * 21 + "do this"]


def library(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


def test_an_import_that_raises_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The exception is reported, and the next library still imported."""
    library(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    library(tmp_path, "torchaudio", "print('chatter'); __version__ = '3'")
    monkeypatch.syspath_prepend(tmp_path)
    reports = imported(["torchvision", "torchaudio"])
    assert "nms" in reports["torchvision"]["error"] and reports["torchaudio"]["version"] == "3"


def test_an_import_that_crashes_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even where it takes the interpreter with it."""
    library(tmp_path, "torchvision", "import os; os._exit(3)")
    library(tmp_path, "torchaudio", "__version__ = '3'")
    monkeypatch.syspath_prepend(tmp_path)
    reports = imported(["torchvision", "torchaudio"])
    assert "exit code 3" in reports["torchvision"]["error"] and reports["torchaudio"]["version"] == "3"


def test_an_import_that_never_ends_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The doctor does not wait for ever."""
    library(tmp_path, "torchvision", "import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    assert "longer than 3 seconds" in imported(["torchvision"], seconds=3)["torchvision"]["error"]


def test_an_absent_library_is_known_to_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not installed is another thing than broken: a module missing within an installed library is the latter."""
    library(tmp_path, "torchvision", "import surely_not_here")
    monkeypatch.syspath_prepend(tmp_path)
    reports = imported(["torchvision", "nor_is_this"])
    assert not reports["torchvision"]["absent"] and reports["nor_is_this"]["absent"]


@pytest.mark.slow
def test_this_machine_is_described():
    """All findings come, whatever is installed, and nothing that importing sets stays in this process."""
    before = dict(os.environ)
    found: list[Any] = checks()
    assert [check.name for check in found][:4] == ["python", "machine", "shared memory", "torch"]
    assert dict(os.environ) == before
