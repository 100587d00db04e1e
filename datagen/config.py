"""Every setting, defined once: its default, its help, its bounds, and whether it shapes a stage's results.

A value comes from the default, else the recipe, else the flag; nothing else. TOML keys, command-line flags and the
settings digest of a stage are all made from the dataclasses below.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from datagen.errors import UsageError

Config = TypeVar("Config")

IN_FLIGHT = 256
"""Items in flight where neither the user nor the engine says how many."""

_INT32 = 2**31 - 1
"""The most of a number that goes into compiled code."""


def setting(
    default: Any,
    text: str,
    *,
    shapes: bool = True,
    flag: bool = True,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """A dataclass field with its help text.

    shapes=False: the value does not change any single item's result, so a resumed run may change it.
    flag=False: set in a recipe only.
    """
    bounds = {"at_least": at_least, "at_most": at_most}
    known = {"help": text, "shapes": shapes, "flag": flag, "choices": choices, "metavar": metavar, **bounds}
    return field(default=default, metadata=known)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What every command shares."""

    seed: int = setting(0, "seed of the whole run")
    prompts: str = setting("", "prompts that replace the shipped ones, file by file", shapes=False, metavar="DIR")
    sandbox_workers: int = setting(0, "sandbox processes; 0: one per core", shapes=False, flag=False, at_least=0)
    unsafe_sandbox: bool = setting(False, "run programs even where isolation is too weak", shapes=False)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Which model answers, through what, and how it is loaded."""

    engine: str = setting(
        "vllm",
        "vllm, server (OpenAI-compatible), batch (a provider's), ray, replay",
        choices=("vllm", "server", "batch", "ray", "replay"),
        shapes=False,
    )
    model: str = setting("codellama/CodeLlama-7b-Instruct-hf", "Hub id, folder, or demo-model")
    revision: str = setting("", "commit or branch of the model on the Hub")
    dtype: str = setting("auto", "auto, bfloat16, float16 or float32")
    quantization: str = setting("", "awq, gptq, fp8 ..., as vLLM names it")
    chat_template: str = setting("", "Jinja file; none: plain text (default: the tokenizer's)", metavar="FILE")
    tensor_parallel_size: int = setting(1, "GPUs that one model is split over", shapes=False, at_least=1)
    max_model_len: int = setting(0, "context in tokens; 0: the model's, at most 8192", shapes=False, at_least=0)
    gpu_memory_utilization: float = setting(
        0.0, "share of the memory; 0: 0.92, split over the models", shapes=False, at_least=0, at_most=1
    )
    trust_remote_code: bool = setting(False, "allow code from the model's repository to run", shapes=False)
    base_url: tuple[str, ...] = setting(
        (), "server: its address, like http://localhost:8000/v1, or several", shapes=False, metavar="URL"
    )
    address: str = setting("", "ray: the cluster, HOST:PORT or ray://HOST:PORT (default: auto)", shapes=False)
    replicas: int = setting(1, "ray: copies of the model, each on GPUs of its own", shapes=False, at_least=1)
    concurrency: int = setting(
        0, "items in flight; 0: as many as keep vLLM's batch full, 256 for each server", shapes=False, at_least=0
    )
    request_timeout: float = setting(600.0, "server: seconds until a request is retried", shapes=False, flag=False)
    retries: int = setting(5, "server: tries after the first", shapes=False, flag=False, at_least=0)
    replay: str = setting("", "replay: the run folder whose recorded calls answer", shapes=False, metavar="DIR")
    price_read: float = setting(
        0.0, "price of a million tokens read, for --max-cost", shapes=False, flag=False, at_least=0
    )
    price_written: float = setting(0.0, "price of a million tokens written", shapes=False, flag=False, at_least=0)

    @property
    def in_flight(self) -> int:
        """Items in flight where the engine does not say how much it works on at once; with several servers, of all."""
        return self.concurrency or IN_FLIGHT * max(1, len(self.base_url))


DEFAULT_TARGET = 1000
"""Unique questions where neither a count nor a target is given."""


@dataclass(frozen=True, slots=True)
class QuestionsConfig:
    """Questions: many per completion, varied by topic, difficulty and scenario."""

    count: int = setting(0, "raw questions to generate, instead of --target", shapes=False, at_least=0)
    target: int = setting(0, "unique questions to reach, in rounds; 0: 1000", shapes=False, at_least=0)
    max_generated: int = setting(0, "raw questions at which to give up; 0: 4 x target", shapes=False, at_least=0)
    per_prompt: int = setting(50, "questions asked for in one completion", at_least=1)
    examples: int = setting(10, "example questions shown in a prompt", at_least=0)
    topics: str = setting("topics.toml", "topics: a file, or one shipped in data/", metavar="FILE")
    difficulties: tuple[str, ...] = setting(("easy", "medium"), "difficulties to draw from", flag=False)
    min_words: int = setting(6, "drop shorter questions", flag=False, at_least=1)
    max_words: int = setting(400, "drop longer questions", flag=False, at_least=1)
    canary: float = setting(0.3, "least share that must parse after 100 prompts", shapes=False, at_least=0, at_most=1)
    temperature: float | None = setting(None, "sampling temperature (default: the prompt's)", at_least=0)
    top_p: float | None = setting(None, "nucleus sampling (default: the prompt's)", at_least=0, at_most=1)
    max_tokens: int | None = setting(None, "tokens of a completion (default: the prompt's)", at_least=1)


@dataclass(frozen=True, slots=True)
class DedupConfig:
    """Near-duplicates: word shingles, MinHash LSH, verified by the exact Jaccard similarity."""

    threshold: float = setting(0.7, "Jaccard similarity of near-duplicates", at_least=0.05, at_most=1)
    shingle: int = setting(3, "words in a shingle", at_least=1, at_most=_INT32)
    num_perm: int = setting(0, "permutations of a MinHash signature; 0: 130, or 252 for very many rows", at_least=0)
    exact: bool = setting(False, "drop equal texts only, as the paper did")
    flips: str = setting(
        "drop",
        "similar texts that one word turns around (minimum, maximum): drop, keep, or cap",
        choices=("drop", "keep", "cap"),
    )
    flip_cap: int = setting(1, "cap: how many of them stay beside each kept text", at_least=1)
    against: tuple[str, ...] = setting((), "kept before: runs, indexes, files or Hub data sets", metavar="NAME")
    backend: str = setting(
        "auto", "auto, numpy, or numba (faster for many rows)", choices=("auto", "numpy", "numba"), shapes=False
    )
    memory_mb: int = setting(4096, "memory for the state of the rows; more goes to disk", shapes=False, at_least=0)
    address: str = setting(
        "", "a Ray cluster that does the work: auto, HOST:PORT or ray://HOST:PORT", shapes=False, metavar="ADDRESS"
    )


@dataclass(frozen=True, slots=True)
class SolveConfig:
    """Tests first, then n candidates; the first that passes every test is kept."""

    n: int = setting(10, "candidate solutions per question", at_least=1)
    tests: str = setting(
        "plain", "plain (the paper's) or consensus (files pooled, agreed asserts stay)", choices=("plain", "consensus")
    )
    test_files: int = setting(3, "consensus: test files pooled", at_least=1)
    min_tests: int = setting(3, "usable tests that a question needs", at_least=1)
    consensus: float = setting(0.4, "consensus: share of candidates that must agree", at_least=0, at_most=1)
    early_stop: bool = setting(False, "stop at the first candidate that passes: the same rows, fewer tokens")
    give_up: bool = setting(False, "early stop: drop a question whose tests seem broken before all n are drawn")
    temperature: float | None = setting(None, "temperature of solutions (default: the prompt's)", at_least=0)
    top_p: float | None = setting(None, "nucleus sampling of solutions (default: the prompt's)", at_least=0, at_most=1)
    max_tokens: int | None = setting(None, "tokens of a solution (default: the prompt's)", at_least=1)
    tests_temperature: float | None = setting(None, "temperature of tests (default: the prompt's)", at_least=0)
    cpu_seconds: float = setting(2.0, "CPU time that a program may use", at_least=0.05)
    first_cpu_seconds: float = setting(
        0.25, "CPU time of its first try; more only if others need more, too", flag=False, at_least=0.01
    )
    memory_mb: int = setting(512, "memory that a program may use", at_least=64)
    limit: int = setting(0, "solve only the first N questions; 0: all", shapes=False, at_least=0)
    canary: float = setting(0.3, "least share that must parse after 100 questions", shapes=False, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        """UsageError for settings that exclude each other."""
        if self.early_stop and self.tests == "consensus":
            what = "a consensus counts the votes of all n candidates, so early_stop cannot end before them"
            raise UsageError(what, hint="Leave out --early-stop, or use --tests plain")
        if self.give_up and not self.early_stop:
            raise UsageError("give_up ends a question between waves of candidates", hint="Add --early-stop")


@dataclass(frozen=True, slots=True)
class DecontaminateConfig:
    """Rows that overlap a benchmark are dropped: OpenAI's procedure, with a minimum length where it acts."""

    against: tuple[str, ...] = setting((), "benchmarks: names, files or Hub data sets", metavar="NAME")
    field: str = setting("", "column of a benchmark's question (default: known names)")
    substrings: int = setting(3, "random substrings of each benchmark item", at_least=1)
    length: int = setting(50, "characters of a substring", at_least=1)
    minimum: int = setting(20, "characters under which an item acts on nothing", at_least=1, at_most=_INT32)
    containment: float = setting(
        0.3, "share of an item's rare 5-grams at which a row overlaps it", at_least=0.01, at_most=1
    )
    execution: str = setting(
        "triggered", "rows run against benchmarks' tests: triggered (where alike), exhaustive (all that fit), off",
        choices=("triggered", "exhaustive", "off"), metavar="WHICH",
    )  # fmt: skip
    cpu_seconds: float = setting(1.0, "execution: CPU time that a solution may use", flag=False, at_least=0.05)
    near: int = setting(20, "execution: nearest items whose tests a row is run against", at_least=0)
    judge: bool = setting(False, "ask a model whether a row is a nearest item in other words")
    judge_near: int = setting(3, "judge: nearest items that it is asked about", at_least=1)
    judge_similarity: float = setting(0.25, "judge: least similarity of what is asked", at_least=0, at_most=1)
    neighbours: str = setting(
        "", "what nearest means: a sentence-transformers model (default: TF-IDF)", metavar="MODEL"
    )
    mark: bool = setting(False, "drop nothing: add a column contamination instead")


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """The data set as it is published."""

    license: str = setting("", "licence of the data set, like apache-2.0 (asked for, never guessed)")
    title: str = setting("", "name on the data set card")
    shard_rows: int = setting(100_000, "rows of a Parquet shard", at_least=1)


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """What a run may spend in all its sessions together; reached, it stops cleanly and says how to go on."""

    max_tokens_total: int = setting(0, "stop at so many tokens, read and written; 0: never", shapes=False, at_least=0)
    max_hours: float = setting(0.0, "stop after so many hours; 0: never", shapes=False, at_least=0)
    max_cost: float = setting(0.0, "stop at this cost, by the recipe's prices; 0: never", shapes=False, at_least=0)


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """A model's score on benchmarks: what is asked how often, and how answers are run."""

    benchmarks: tuple[str, ...] = setting(
        (), "names, files of prompts and tests, or Hub data sets", shapes=False, metavar="NAME"
    )
    protocol: str = setting(
        "", "code-llama, evalplus, synthesize, fix, explain, plain (default: the benchmark's)", shapes=False
    )
    style: str = setting(
        "auto",
        "auto (chat if the tokenizer has a template), base, chat",
        choices=("auto", "base", "chat"),
        shapes=False,
    )
    n: int | None = setting(None, "samples of each problem (default: the protocol's)", shapes=False, at_least=1)
    temperature: float | None = setting(None, "0: greedy (default: the protocol's)", shapes=False, at_least=0)
    top_p: float | None = setting(
        None, "nucleus sampling (default: the protocol's)", shapes=False, at_least=0, at_most=1
    )
    max_tokens: int | None = setting(None, "tokens of an answer (default: the protocol's)", shapes=False, at_least=1)
    k: tuple[str, ...] = setting(
        (), "k of pass@k (default: the protocol's, as far as n goes)", shapes=False, metavar="K"
    )
    limit: int = setting(0, "only the first N problems; 0: all", shapes=False, at_least=0)
    cpu_seconds: float = setting(3.0, "CPU time that a test may take", at_least=0.05)
    memory_mb: int = setting(1024, "memory that a program may use", at_least=64)
    samples: str = setting("", "score this samples.jsonl; no model is asked", shapes=False, metavar="FILE")
    exclude_items: str = setting(
        "", "score without the items that a decontaminated run hit: its folder or hits", shapes=False, metavar="REPORT"
    )


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """A full fine-tune: how rows read, the schedule, the hardware. Every weight is trained; there are no adapters."""

    model: str = setting("", "base model: Hub id, folder, or demo-model")
    revision: str = setting("", "commit or branch of the model on the Hub")
    trust_remote_code: bool = setting(False, "allow code from the model's repository to run", shapes=False)
    chat_template: str = setting("", "Jinja file; none: plain text (default: the tokenizer's)", metavar="FILE")
    form: str = setting(
        "messages",
        "messages (as published), or solver (the run's own prompt for solutions)",
        choices=("messages", "solver"), metavar="WHICH",
    )  # fmt: skip
    loss: str = setting(
        "completion", "tokens that are learnt: completion, or all", choices=("completion", "all"), metavar="WHICH"
    )
    rehearsal: tuple[str, ...] = setting(
        (), "other data mixed in: a table and its share of all tokens", metavar="TABLE=SHARE"
    )
    length: int = setting(2048, "tokens of a sequence; a longer row is dropped, never cut", at_least=8)
    packing: str = setting("on", "on: several whole rows in a sequence; off", choices=("on", "off"), metavar="WHICH")
    epochs: int = setting(2, "times that every row is read", at_least=1)
    max_steps: int = setting(0, "optimizer steps, instead of --epochs; 0: all epochs", at_least=0)
    batch: int = setting(64, "sequences of an optimizer step, over all devices", at_least=1)
    batch_tokens: int = setting(0, "tokens of an optimizer step, instead of --batch", at_least=0)
    micro_batch: int = setting(1, "sequences that a device reads at once", at_least=1)
    learning_rate: float = setting(2e-5, "peak of the learning rate", at_least=0)
    matrix_rate: float = setting(0.02, "muon: peak of the learning rate of matrices", flag=False, at_least=0)
    schedule: str = setting(
        "cosine", "decay of the learning rate: cosine, linear, constant", choices=("cosine", "linear", "constant"),
        metavar="WHICH",
    )  # fmt: skip
    final_share: float = setting(
        0.0, "cosine: where it ends, as a share of the peak", flag=False, at_least=0, at_most=1
    )
    warm_up: float = setting(0.03, "steps of linear warm-up; under 1: a share of all steps", at_least=0)
    optimizer: str = setting(
        "adamw",
        "adamw, adamw-8bit, adafactor, muon (matrices; AdamW for the rest)",
        choices=("adamw", "adamw-8bit", "adafactor", "muon"), metavar="NAME",
    )  # fmt: skip
    beta1: float = setting(0.9, "AdamW's first beta", flag=False, at_least=0, at_most=1)
    beta2: float = setting(0.95, "AdamW's second beta", flag=False, at_least=0, at_most=1)
    weight_decay: float = setting(0.0, "decoupled weight decay", flag=False, at_least=0)
    max_grad_norm: float = setting(1.0, "norm at which gradients are clipped; 0: never", flag=False, at_least=0)
    precision: str = setting(
        "mixed",
        "mixed (weights and optimizer in float32), bfloat16, float32",
        choices=("mixed", "bfloat16", "float32"), metavar="WHICH",
    )  # fmt: skip
    activation_checkpointing: str = setting(
        "auto", "activations computed twice to save memory: on, off; auto: on a GPU", choices=("auto", "on", "off"),
        metavar="WHICH",
    )  # fmt: skip
    attention: str = setting(
        "auto", "flash_attention_2, kernels-community/flash-attn2, sdpa, eager; auto: the first that is there",
        metavar="NAME",
    )  # fmt: skip
    distributed: str = setting(
        "auto",
        "single, ddp, fsdp2, zero3, zero3-offload; auto: fsdp2 on several GPUs, else single",
        choices=("auto", "single", "ddp", "fsdp2", "zero3", "zero3-offload"), metavar="HOW",
    )  # fmt: skip
    processes: int = setting(0, "processes, one for each device; 0: every GPU", at_least=0)
    threads: int = setting(0, "CPU threads of a process; 0: torch's choice", shapes=False, flag=False, at_least=0)
    save_steps: int = setting(0, "steps between checkpoints; 0: ten in all", shapes=False, at_least=0)
    keep_checkpoints: int = setting(2, "checkpoints that stay", shapes=False, flag=False, at_least=1)
    license: str = setting("", "licence of the model, like apache-2.0 (asked for, never guessed)", shapes=False)
    report_to: str = setting(
        "none", "none, tensorboard, trackio, wandb", choices=("none", "tensorboard", "trackio", "wandb"), shapes=False,
        metavar="NAME",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The loop closed after a run: its model is trained on its rows, beside controls, and all are scored."""

    benchmarks: tuple[str, ...] = setting((), "what every arm is scored on; none: no loop", flag=False, metavar="NAME")
    rounds: int = setting(1, "times that a model is trained on what it made itself", shapes=False, at_least=1)
    seed_rows: str = setting("", "arm seed: a table, or demo:N for N rows of the demo's generator", flag=False)
    n: int = setting(10, "samples of each problem", flag=False, at_least=1)
    temperature: float = setting(0.8, "at which problems are sampled", flag=False, at_least=0)


@dataclass(frozen=True, slots=True)
class EstimateConfig:
    """How much is made on what, and what one of each costs. docs/scaling.md has the source of every default."""

    questions: int = setting(62_000, "raw questions", at_least=1)
    n: float = setting(10.0, "candidates drawn per question", at_least=0)
    gpus: int = setting(1, "GPUs, each with the whole model", at_least=1)
    cores: int = setting(8, "cores for the sandbox", at_least=1)
    token_rate: float = setting(2500.0, "tokens per second that a GPU writes (assumed)", at_least=0.001)
    gpu_price: float = setting(0.0, "price of a GPU hour", at_least=0)
    read_price: float = setting(0.0, "price of a million tokens read", at_least=0)
    written_price: float = setting(0.0, "price of a million tokens written", at_least=0)
    question_prompt: float = setting(18.0, "tokens read per raw question", at_least=0)
    question_tokens: float = setting(60.0, "tokens written per raw question", at_least=0)
    tests_prompt: float = setting(420.0, "tokens read for a test file", at_least=0)
    tests_tokens: float = setting(200.0, "tokens written for a test file", at_least=0)
    solution_prompt: float = setting(430.0, "tokens read for all candidates of a question", at_least=0)
    solution_tokens: float = setting(150.0, "tokens written per candidate", at_least=0)
    unique: float = setting(0.84, "share of raw questions that are no duplicates", at_least=0, at_most=1)
    testable: float = setting(1.0, "share of unique questions with enough tests", at_least=0, at_most=1)
    solved: float = setting(0.27, "share of unique questions that a candidate solves", at_least=0, at_most=1)
    clean: float = setting(1.0, "share of rows that overlap no benchmark", at_least=0, at_most=1)
    program_cpu: float = setting(0.02, "sandbox CPU seconds per candidate", at_least=0)
    driver_cpu: float = setting(0.02, "CPU seconds of the driver per unique question", at_least=0)
    ledger_bytes: float = setting(2.0, "bytes on disk per token written: ledgers", at_least=0)
    table_bytes: float = setting(2.0, "bytes on disk per token written: tables and data set", at_least=0)
    round_bytes: float = setting(290.0, "bytes on disk per raw question: what dedup found of it", at_least=0)
    dedup_bytes: float = setting(1900.0, "memory of dedup per raw question", at_least=0)


def load_toml(path: Path) -> dict[str, Any]:
    """A recipe's tables; UsageError if the file is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        hint = "Give a recipe's name or the path of a TOML file"
        raise UsageError(f"cannot read {path} ({error})", hint=hint) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"not valid TOML: {error}", where=str(path)) from error


def as_table(value: Any, name: str, where: str) -> dict[str, Any]:
    """What a TOML file has under `name`; UsageError naming it if that is no table."""
    if not isinstance(value, dict):
        raise UsageError(f"{name} = {value!r} is no table", where=where, hint=f"Write [{name}] on a line of its own")
    return value


def build(cls: type[Config], table: Mapping[str, Any], flags: Mapping[str, Any], *, where: str = "") -> Config:
    """A config from a recipe's table and the flags given (None: not given).

    An unknown key, a value of another type or out of bounds is a UsageError that names it.
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]  # every Config is a dataclass
    for key in table:
        if key not in known:
            raise unknown_key(key, known, where)
    given = dict(table) | {key: value for key, value in flags.items() if value is not None and key in known}
    hints = get_type_hints(cls)
    return cls(**{key: _checked(known[key], value, hints[key], where) for key, value in given.items()})


def unknown_key(key: str, known: Mapping[str, Any], where: str) -> UsageError:
    """The error for a key that no setting has, with the closest one as a suggestion."""
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(sorted(known))}"
    return UsageError(f"unknown key {key!r}", where=where, hint=hint)


def kinds(hint: Any) -> tuple[type, ...]:
    """The plain types a setting accepts: `float | None` gives (float, NoneType), `tuple[str, ...]` gives (tuple,)."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in kinds(part))
    return (get_origin(hint) or hint,)


def _checked(spec: dataclasses.Field[Any], value: Any, hint: Any, where: str) -> Any:
    allowed = kinds(hint)
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, str) and allowed == (tuple,):
        value = (value,) if value else ()  # one name may stand for a list of one
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        value = float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wanted = " or ".join(kind.__name__ for kind in allowed if kind is not type(None))
        raise UsageError(f"{spec.name} = {value!r} is not of type {wanted}", where=where, hint="Correct it")
    if isinstance(value, tuple) and not all(isinstance(item, get_args(hint)[0]) for item in value):
        hint = f'Write them in quotes, like {spec.name} = ["a", "b"]'
        raise UsageError(f"{spec.name} = {list(value)!r} is no list of texts", where=where, hint=hint)
    _check_bounds(spec, value, where)
    return value


def _check_bounds(spec: dataclasses.Field[Any], value: Any, where: str) -> None:
    low, high = spec.metadata["at_least"], spec.metadata["at_most"]
    choices = spec.metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"{spec.name} = {value!r} is unknown", where=where, hint=f"Use one of {', '.join(choices)}")
    if low is not None and value is not None and value < low:
        raise UsageError(f"{spec.name} = {value} is under {low:g}", where=where, hint=f"Use {low:g} or more")
    if high is not None and value is not None and value > high:
        raise UsageError(f"{spec.name} = {value} is over {high:,}", where=where, hint=f"Use {high:,} or less")


def shaping(config: Any) -> dict[str, Any]:
    """The settings that shape each item's result, for a stage's settings digest."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.metadata.get("shapes", True)}
