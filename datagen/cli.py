"""The command line: one short function per command, config -> collaborators -> pipeline -> print.

Results go to stdout, all else to stderr. Exit codes are those of datagen.errors.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import shlex
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datagen import __version__, decontamination, loop, standalone, workflow
from datagen.config import (
    BudgetConfig,
    DecontaminateConfig,
    DedupConfig,
    EngineConfig,
    EstimateConfig,
    EvalConfig,
    ExportConfig,
    FinetuneConfig,
    LoopConfig,
    QuestionsConfig,
    RunConfig,
    SolveConfig,
    build,
)
from datagen.doctor import checks, render
from datagen.errors import BudgetReached, ContaminationFound, DatagenError, InputError, Interrupted, UsageError
from datagen.estimate import estimate, measured
from datagen.estimate import shown as estimated
from datagen.evaluation.compare import comparison
from datagen.evaluation.session import evaluate
from datagen.evaluation.show import shown
from datagen.files import read_json
from datagen.flags import Formatter, Parser, add_flags, collect, whole
from datagen.funnel import attempts, funnel, overlaps, record
from datagen.hub import push as push_to_hub
from datagen.hub import push_model
from datagen.licenses import check_license
from datagen.models import Row
from datagen.outlook import told
from datagen.recipe import Recipe, load_recipe, recipe_path, shipped
from datagen.shards import Shard, read_shard
from datagen.store import DECONTAMINATE, SOLVE, Report, read_reports, read_status
from datagen.tables import iter_rows
from datagen.training.exports import EXPORTS
from datagen.training.presets import load_preset, shipped_presets
from datagen.training.scores import write_scores
from datagen.training.session import MODEL, Task, preflight, prepare
from datagen.training.session import export as export_training
from datagen.training.session import finetune as train

DEFAULT_RUN = "runs/default"
_UNREACHABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""What the kernel says of a path that a user may not enter, or that names no file."""

Flags = tuple[str, type, tuple[str, ...]]
"""A table of the recipe, its config, and which of its settings are flags here (none named: all)."""


def say(text: str) -> None:
    """A line for the person watching, on stderr."""
    print(text, file=sys.stderr, flush=True)


# -- the commands --------------------------------------------------------------------------------------------------


def questions(args: argparse.Namespace) -> None:
    """Generates questions in rounds, and drops duplicates among them."""
    in_run(args, lambda run: run.questions())
    conclude(folder_of(args))


def dedup(args: argparse.Namespace) -> None:
    """Drops exact and near duplicates: of a run's questions, or of the table that was named."""
    if args.source:
        done = standalone.dedup(table(args), resolve(args).dedup)
        print(f"{funnel([done.report])}\n\n{standalone.draw(done.similarities)}\n\nwritten  {done.path}")
        return
    in_run(args, workflow.then(lambda run: run.dedup()))
    conclude(args.run)


def solve(args: argparse.Namespace) -> None:
    """Writes tests and candidates for each unique question and keeps the first candidate that passes."""
    in_run(args, lambda run: run.solve())
    conclude(folder_of(args))


def decontaminate(args: argparse.Namespace) -> None:
    """Drops rows that overlap a benchmark: of a run, or of the table that was named."""
    recipe = resolve(args)
    if not recipe.decontaminate.against:
        raise UsageError("no benchmark to check against", hint="Add --against humaneval mbpp, or files")
    if args.source:
        report, found = _decontaminate_table(args, recipe)
    else:
        in_run(args, lambda run: run.decontaminate())
        conclude(args.run)
        report = next(r for r in read_reports(Path(args.run)) if r.stage == DECONTAMINATE)
        found = report.notes["decontamination"]["found"]
        print(f"\n{overlaps(report)}")
    caught = {reason: found.get(reason, 0) for reason in ("contaminated", "unresolved")}
    if args.fail_on_contamination and any(caught.values()):
        told = ", ".join(f"{count:,} rows {reason}" for reason, count in caught.items() if count)
        raise ContaminationFound(told, hint="hits.parquet names the item, the method and the place of each")


def _decontaminate_table(args: argparse.Namespace, recipe: Recipe) -> tuple[Report, Mapping[str, int]]:
    """The same of a table; its report, and the rows found by reason, whether or not they were dropped."""
    named = replace(table(args), column="")
    done = asyncio.run(decontamination.decontaminate(named, args.column or (), recipe, say=say))
    print(f"{funnel([done.report])}\n\n{overlaps(done.report)}\n\nwritten  {done.path}")
    return done.report, done.found


def export(args: argparse.Namespace) -> None:
    """Writes the data set folder."""
    in_run(args, workflow.then(lambda run: run.export()))
    conclude(args.run, dataset=True)


def push(args: argparse.Namespace) -> None:
    """Publishes the exported folder, or a model's, in one commit; the model's card first gets its scores."""
    folder = Path(args.run) / "dataset"
    if args.eval and not args.model:
        raise UsageError("--eval is for a model's card", hint="Add --model models/NAME/model")
    if args.eval:
        write_scores(Path(args.model), [Path(name) for name in args.eval])
    if args.model:
        pushed = push_model(Path(args.model), args.repo, private=args.private, message=args.message)
    elif (folder / "README.md").is_file():
        pushed = push_to_hub(folder, args.repo, private=args.private, message=args.message)
    else:
        raise InputError("nothing was exported", where=str(folder), hint=f"Run: datagen export --run {args.run}")
    print(pushed.url)
    if pushed.message:
        say(pushed.message)


def run(args: argparse.Namespace) -> None:
    """Runs every stage of a recipe in order; with --shard, a part of the next one."""
    if args.shard:
        if args.target_rows:
            raise UsageError("--target-rows takes whole rounds", hint="Give --shard with --target or --count")
        in_run(args, lambda run: run.next_part())
        conclude(folder_of(args))
        return
    recipe = resolve(args)
    if recipe.loop.benchmarks:
        loop.check(recipe)
    in_run(args, lambda run: run.everything(args.target_rows))
    conclude(args.run, dataset=True, sample=True)
    if recipe.loop.benchmarks:
        print(f"\n{loop.shown(loop.close(Path(args.run), recipe, say))}")


def merge(args: argparse.Namespace) -> None:
    """Puts the shards of a run together; no model is asked."""
    folders = [Path(folder) for folder in args.shards]
    written = [folder / "recipe.toml" for folder in folders or sorted((Path(args.run) / "shards").glob("*-of-*"))]
    args.recipe = args.recipe or next((str(path) for path in written if path.is_file()), None)
    in_run(args, workflow.then(lambda run: run.merge(folders)))
    conclude(args.run)


def status(args: argparse.Namespace) -> None:
    """Prints what a run holds; takes no lock, so it works while the run goes on."""
    stages = read_status(Path(args.run))
    if not stages:
        raise InputError("holds no stage", where=args.run, hint="Start with: datagen questions, or datagen run demo")
    for stage in (stage for stage in stages if stage.report is None):
        print(f"{stage.name}: not finished, {stage.done:,} items done, {stage.failed:,} failed")
    conclude(args.run, dataset=(Path(args.run) / "dataset").is_dir())
    if (Path(args.run) / "recipe.toml").is_file():
        print("\n".join(told(Path(args.run), load_recipe(Path(args.run) / "recipe.toml", {}))))


def plan(args: argparse.Namespace) -> None:
    """Says what a run will take, by the constants of docs/scaling.md or those that a run showed."""
    given = collect(args).get("estimate", {})
    config = build(EstimateConfig, {}, given)
    if args.run:
        config = build(EstimateConfig, measured(Path(args.run), config.questions), given, where=args.run)
    print(estimated(config, estimate(config)))


def preview(args: argparse.Namespace) -> None:
    """Makes a few rows end to end in a temporary folder and shows them whole."""
    with tempfile.TemporaryDirectory(prefix="datagen-preview-") as folder:
        recipe = resolve(args)
        few = replace(recipe.questions, count=args.rows, target=0, per_prompt=max(args.rows, 5), canary=0.0)
        recipe = replace(recipe, questions=few, solve=replace(recipe.solve, limit=args.rows, canary=0.0))
        try:
            asyncio.run(workflow.run(Path(folder), recipe, lambda run: run.preview(), say))
        except (Interrupted, KeyboardInterrupt) as stopped:
            raise Interrupted("Interrupted: nothing was kept of the preview") from stopped
        solved = Path(folder) / SOLVE
        print("\n\n".join(attempts(outcome) for outcome in workflow.outcomes(solved)))
        print(f"\n{funnel(read_reports(Path(folder)))}\n\nNothing was kept.")


def score(args: argparse.Namespace) -> None:
    """Scores a model, or samples that exist, on benchmarks."""
    folder = _evaluated(args, args.run)
    print(f"\nevaluation  {folder}")


def compare(args: argparse.Namespace) -> None:
    """Compares finished evaluations; a name that is no folder is a model, evaluated first."""
    folders = [Path(name) if Path(name, "report.json").is_file() else _scored(args, name) for name in args.evaluations]
    print(comparison(folders))


def _scored(args: argparse.Namespace, model: str) -> Path:
    """The folder of a model's evaluation on the benchmarks that are named; InputError if none are.

    One that is there is the model's if it was made with this name, or with one that ends in it.
    """
    folder = Path("evals", _slug(model))
    scored = str(read_json(folder / "report.json", {}).get("model", "")).partition("@")[0].rstrip("/")
    if f"/{scored}".endswith(f"/{model.rstrip('/')}") and not getattr(args, "eval.benchmarks"):
        return folder
    if not getattr(args, "eval.benchmarks"):
        hint = f"Run: datagen eval --model {model} --benchmarks NAME, or add --benchmarks here"
        raise InputError("is no finished evaluation", where=model, hint=hint)
    setattr(args, "engine.model", model)
    return _evaluated(args, str(folder))


def _evaluated(args: argparse.Namespace, run: str) -> Path:
    """Runs an evaluation from the flags and prints it; its folder."""
    flags = collect(args)
    engine = build(EngineConfig, {}, flags.get("engine", {}))
    config, settings = build(EvalConfig, {}, flags.get("eval", {})), build(RunConfig, {}, flags.get("run", {}))
    folder = Path(run or f"evals/{_slug(Path(config.samples).stem if config.samples else engine.model)}")
    print(shown(asyncio.run(evaluate(folder, engine, settings, config, say))))
    return folder


def _slug(model: str) -> str:
    """A folder's name for a model: the last part of its path or Hub id; for `datagen finetune`'s models/X/model, X."""
    path = Path(model)
    return (path.parent.name if path.name == MODEL else path.name) or MODEL


def finetune(args: argparse.Namespace) -> None:
    """Fine-tunes every weight of a model on the rows of a run, or of a table."""
    flags = collect(args)
    config = load_preset(args.preset, flags.get("finetune", {}))
    check_license(config.license)
    out = Path(args.out or f"models/{_slug(args.source)}")
    task = Task(args.source, out, config, build(RunConfig, {}, flags.get("run", {})), args.typed)
    if args.dry_run:
        print(preflight(prepare(task), config, colour=sys.stdout.isatty()))
        return
    if args.export:
        print(f"config  {export_training(task, args.export)}")
        return
    report = train(task, say, colour=sys.stderr.isatty())
    first, last = report["losses"]
    print(f"{report['steps']:,} steps, {report['tokens']:,} tokens, loss {first:.4f} -> {last:.4f}")
    print(f"\nmodel  {out / MODEL}\nscore  datagen eval --model {out / MODEL} --benchmarks NAME")


def doctor(args: argparse.Namespace) -> None:
    """Says what this machine can run and what is missing."""
    found = checks()
    print(render(found))
    if any(check.status == "fail" for check in found):
        raise SystemExit(1)


# -- their flags ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the function, a line about it, an example, the settings that are flags."""

    run: Callable[[argparse.Namespace], None]
    about: str
    example: str
    flags: Sequence[Flags] = ()


_ENGINE: Flags = ("engine", EngineConfig, ())
_OF_JUDGE: Flags = ("engine", EngineConfig, ("engine", "base_url", "concurrency", "replay"))
_ENGINE_OF_EVAL: Flags = (
    "engine", EngineConfig,
    ("engine", "model", "revision", "dtype", "quantization", "chat_template", "tensor_parallel_size", "max_model_len",
     "gpu_memory_utilization", "trust_remote_code", "base_url", "address", "replicas", "concurrency", "replay"),
)  # fmt: skip
_RUN: Flags = ("run", RunConfig, ())
_BUDGET: Flags = ("budget", BudgetConfig, ())
_OF_QUESTIONS: Flags = ("questions", QuestionsConfig, ("count", "target", "max_generated"))

COMMANDS: Mapping[str, Command] = {
    "questions": Command(
        questions, "Generate questions.", "datagen questions --target 1000",
        (("questions", QuestionsConfig, ()), _BUDGET, _ENGINE, _RUN),
    ),
    "dedup": Command(
        dedup, "Drop exact and near duplicates of a run's questions, or of any table.",
        "datagen dedup · datagen dedup my.jsonl --column prompt --threshold 0.8",
        (("dedup", DedupConfig, ()),),
    ),
    "solve": Command(
        solve, "Write tests, then n candidates; keep the first that passes every test.", "datagen solve --n 10",
        (("solve", SolveConfig, ()), _BUDGET, _ENGINE, _RUN),
    ),
    "decontaminate": Command(
        decontaminate, "Drop rows of a run, or of any table, that overlap a benchmark.",
        "datagen decontaminate --against humaneval · datagen decontaminate my.jsonl --against mbpp",
        (("decontaminate", DecontaminateConfig, ()), _OF_JUDGE, _RUN),
    ),
    "export": Command(
        export, "Write the data set: Parquet shards and a card.", "datagen export --license apache-2.0",
        (("export", ExportConfig, ()),),
    ),
    "push": Command(
        push, "Publish the exported data set, or a tuned model, on the Hugging Face Hub as one commit.",
        "datagen push me/my-set --private · datagen push me/my-model --model models/demo/model",
    ),
    "run": Command(
        run, "Run a recipe: every stage in order. Killed, it goes on when run again.",
        "datagen run demo · datagen run code-llama --target-rows 14000 --license llama2",
        (
            _OF_QUESTIONS, ("solve", SolveConfig, ("n", "early_stop")),
            ("decontaminate", DecontaminateConfig, ("against", "judge")), ("export", ExportConfig, ("license",)),
            ("loop", LoopConfig, ("rounds",)), _BUDGET, _ENGINE, _RUN,
        ),
    ),
    "merge": Command(
        merge, "Put the shards of a run together, as if one process had made it.",
        "datagen merge --run runs/big · datagen merge node1/3-of-4 ... --run runs/big",
    ),
    "preview": Command(
        preview, "Make a few rows end to end, show them whole, keep nothing.", "datagen preview --recipe demo",
        (_ENGINE, _RUN),
    ),
    "finetune": Command(
        finetune, "Fine-tune every weight of a model on the rows of a run, or of a table.",
        "datagen finetune runs/default --model codellama/CodeLlama-7b-hf --preset phind",
        (("finetune", FinetuneConfig, ()), ("run", RunConfig, ("seed", "prompts"))),
    ),
    "eval": Command(
        score, "Score a model on benchmarks: pass@k with intervals, by a named protocol.",
        "datagen eval --model codellama/CodeLlama-7b-hf --benchmarks humaneval mbpp",
        (("eval", EvalConfig, ()), _ENGINE_OF_EVAL, _RUN),
    ),
    "compare": Command(
        compare, "Compare finished evaluations (or models) problem by problem.",
        "datagen compare evals/base evals/tuned",
        (("eval", EvalConfig, ("benchmarks", "protocol", "style", "n", "temperature", "limit")),
         ("engine", EngineConfig, ("engine", "dtype", "base_url")), ("run", RunConfig, ("seed",))),
    ),
    "status": Command(status, "Show the funnel of a run, finished or not.", "datagen status --run runs/demo"),
    "estimate": Command(
        plan, "Say what a run will take: tokens, GPU hours, cores, disk, memory.",
        "datagen estimate --questions 1000000 --gpus 8 · datagen estimate --run runs/demo --questions 62000",
        (("estimate", EstimateConfig, ()),),
    ),
    "doctor": Command(doctor, "Say what this machine can run, and what is missing.", "datagen doctor"),
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command's flags come from the config dataclasses."""
    parser = Parser(prog="datagen", description="Code training data that has been run, not just written.")
    parser.add_argument("--version", action="version", version=f"datagen {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, help=command.about, description=command.about, formatter_class=Formatter,
            usage=f"datagen {name} {_POSITIONAL.get(name, '')}[flags]", epilog=f"example: {command.example}",
        )  # fmt: skip
        _add_own(sub, name)
        for table, cls, only in command.flags:
            add_flags(sub, table, cls, only=only)
        for step in _STEPS.get(name, ()):
            default = "the recipe's" if name == "decontaminate" else "--model"
            text = f"{_ROLES.get(step, f'model that writes {step}')} (default: {default})"
            sub.add_argument(f"--{step}-model", dest=f"engine.{step}.model", metavar="TEXT", help=text)
    return parser


_STEPS = {
    "solve": ("tests", "solutions"), "decontaminate": ("judge",), "run": ("questions", "tests", "solutions", "judge"),
}  # fmt: skip
_ROLES = {"judge": "model that judges, with --judge"}
_POSITIONAL = {
    "push": "NAME/REPO ", "run": "RECIPE ", "dedup": "[TABLE] ", "decontaminate": "[TABLE] ",
    "compare": "A B [C ...] ", "finetune": "RUN|TABLE ",
}  # fmt: skip
_OF_TABLES = ("dedup", "decontaminate")
"""The commands that also work on a table of any kind, instead of a run."""
_ASKING = ("questions", "solve", "run")
"""The commands that ask a model: they can say what is left to ask, and several processes can share them."""
_ALONE = ("doctor", "estimate", "eval", "compare", "finetune")
"""Commands that work in no run's folder."""


Flag = tuple[tuple[str, ...], Mapping[str, Any]]
"""A flag or a positional that is no setting: its names and what argparse is told of it."""


def _flag(*names: str, **options: Any) -> Flag:
    return names, options


_OWN: Mapping[str, Sequence[Flag]] = {
    "push": (
        _flag("repo", metavar="NAME/REPO", help="where on the Hub"),
        _flag("--model", default="", metavar="FOLDER",
              help="publish this model instead, as `datagen finetune` left it: models/NAME/model"),
        _flag("--eval", nargs="+", action="extend", default=[], metavar="DIR",
              help="with --model: put the scores of these finished evaluations into its card"),
        _flag("--private", action="store_true", help="make a new repository private"),
        _flag("--message", default="Upload with datagen", metavar="TEXT", help="message of the commit"),
    ),
    "run": (
        _flag("recipe", metavar="RECIPE", help=f"{', '.join(shipped())}, or a TOML file"),
        _flag("--target-rows", type=whole(0), default=0, metavar="N",
              help="go on until N verified, decontaminated rows are there"),
    ),
    "merge": (
        _flag("shards", nargs="*", metavar="SHARD", help="folders of the shards (default: those in the run's folder)"),
    ),
    "decontaminate": (
        _flag("--exhaustive", dest="decontaminate.execution", action="store_const", const="exhaustive",
              help="execution: run every row against all items whose calls fit"),
        _flag("--fail-on-contamination", action="store_true",
              help="end with exit code 12 if a row is contaminated or unresolved"),
    ),
    "preview": (_flag("--rows", type=whole(1), default=3, metavar="N", help="rows to make (3)"),),
    "compare": (
        _flag("evaluations", nargs="+", metavar="EVAL",
              help="folders of evaluations; a model's name with --benchmarks is evaluated first"),
    ),
    "finetune": (
        _flag("source", metavar="RUN|TABLE",
              help="a run's folder, a .parquet, .jsonl(.gz) or .json file, a folder of them, or OWNER/NAME on the Hub"),
        _flag("--preset", default="", metavar="NAME",
              help=f"{', '.join(shipped_presets())}, or a TOML file (default: none)"),
        _flag("--out", default="", metavar="DIR", help="folder to write (models/SOURCE)"),
        _flag("--dry-run", action="store_true", help="show one row, the checks and the costs, and stop"),
        _flag("--export", default="", choices=tuple(EXPORTS), metavar="TRAINER",
              help=f"train nothing; write rows and a config for {' or '.join(EXPORTS)}"),
    ),
    "estimate": (_flag("--run", default="", metavar="DIR", help="take what one of each costs from this run"),),
    "eval": (_flag("--run", default="", metavar="DIR", help="folder of the evaluation (evals/MODEL)"),),
}  # fmt: skip


def _add_own(parser: argparse.ArgumentParser, name: str) -> None:
    """The flags that are no settings: where the run lies, and what only this command takes."""
    if name in _OF_TABLES:
        _add_table(parser, many=name == "decontaminate")
    for names, options in _OWN.get(name, ()):
        parser.add_argument(*names, **options)
    if name in _ASKING:
        text = "do only the i-th of N parts, in a folder of its own; then: datagen merge"
        parser.add_argument("--shard", default="", metavar="i/N", help=text)
    if name not in _ALONE:
        where = "" if name == "run" else DEFAULT_RUN
        parser.add_argument("--run", default=where, metavar="DIR", help=f"folder of the run ({where or 'runs/RECIPE'})")
    if name not in (*_ALONE, "push", "status"):
        if name != "run":
            text = "recipe to take settings from (default: the run's own)"
            parser.add_argument("--recipe", metavar="NAME", help=text)
        parser.add_argument("--dry-run", action="store_true", help="print the resolved settings and stop")


TABLE = {
    "column": ("NAME", "column of the text (question)"),
    "out": ("DIR", "folder to write (beside the table)"),
    "revision": ("TEXT", "commit, branch or tag on the Hub"),
    "subset": ("NAME", "configuration on the Hub"),
    "split": ("NAME", "split on the Hub (train)"),
}
"""The flags that describe a table."""


def _add_table(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """The table that a command works on instead of a run, and what is said about it; `many`: of several columns."""
    text = "a .parquet, .jsonl(.gz) or .json file, a folder of them, or OWNER/NAME on the Hub (default: the run)"
    parser.add_argument("source", nargs="?", default="", metavar="TABLE", help=text)
    for flag, (metavar, about) in TABLE.items():
        several = many and flag == "column"
        text = "columns to scan (default: those of a known name)" if several else about
        parser.add_argument(f"--{flag}", metavar=metavar, nargs="+" if several else None, help=f"with TABLE: {text}")


# -- what they share ------------------------------------------------------------------------------------------------


def resolve(args: argparse.Namespace) -> Recipe:
    """The settings of a command: its recipe, else the one in the run's folder, under the flags."""
    written = Path(args.run) / "recipe.toml"
    of_run = written.is_file() and not getattr(args, "source", "")
    path = recipe_path(args.recipe) if args.recipe else written if of_run else None
    recipe = load_recipe(path, collect(args), name=Path(args.recipe or args.run).stem)
    check_license(recipe.export.license)
    return recipe


def table(args: argparse.Namespace) -> standalone.Table:
    """The table that was named, with what was said about it."""
    return standalone.Table(args.source, **{flag: getattr(args, flag) for flag in TABLE if getattr(args, flag)})


def only_of_tables(args: argparse.Namespace) -> None:
    """UsageError for a flag about a table where none was named."""
    given = [flag for flag in TABLE if args.command in _OF_TABLES and getattr(args, flag)]
    if given and not args.source:
        raise UsageError(f"--{given[0]} needs a table", hint=f"Type: datagen {args.command} TABLE --{given[0]} ...")


def in_run(args: argparse.Namespace, work: Callable[[workflow.Run], Awaitable[object]]) -> None:
    """Opens the run's folder with its engines and sandbox, and does the work."""
    asyncio.run(workflow.run(Path(args.run), resolve(args), work, say, shard_of(args)))


def shard_of(args: argparse.Namespace) -> Shard | None:
    """The part that --shard names, if it was given."""
    given = getattr(args, "shard", "")
    return read_shard(given, Path(args.run)) if given else None


def folder_of(args: argparse.Namespace) -> str:
    """Where the command works: the run's folder, or its shard's."""
    shard = shard_of(args)
    return str(shard.folder) if shard else args.run


def conclude(run: str, *, dataset: bool = False, sample: bool = False) -> None:
    """Prints the funnel, if asked one row in full, and where everything lies."""
    folder = Path(run)
    print(funnel(read_reports(folder)))
    if sample:
        rows = list(iter_rows(folder / DECONTAMINATE / "kept.parquet", Row))
        middling = min(rows, key=lambda row: (abs((row.pass_rate or 0.0) - 0.5), row.id))
        which = "rows" if middling.pass_rate is None else "rows, of middling difficulty"
        print(f"\nOne of {len(rows):,} {which}:\n\n{record(middling)}")
    print(f"\nrun      {folder}")
    if dataset:
        print(f"dataset  {folder / 'dataset'}")


def dry_run(args: argparse.Namespace) -> None:
    """Prints the resolved settings as a recipe and, in comments, what the rest of the run will take."""
    recipe = resolve(args)
    print(recipe.to_toml(), end="")
    if args.command in _ASKING:
        print("\n".join(["", *(f"# {line}" for line in told(Path(args.run), recipe))]))


def going_on(argv: Sequence[str], stopped: BudgetReached) -> str:
    """What to type after a budget is spent: the same command with enough for the rest of the stage."""
    flags = [*argv]
    while stopped.flag in flags:
        place = flags.index(stopped.flag)
        del flags[place : place + 2]
    flags = [flag for flag in flags if not flag.startswith(f"{stopped.flag}=")]
    return f"go on with: {shlex.join(['datagen', *flags, stopped.flag, f'{stopped.enough:.10g}'])}"


def unreachable(error: OSError) -> InputError:
    """The user's mistake behind an error about a path; any other error is raised again, as it is our machinery's."""
    if error.errno not in _UNREACHABLE or error.filename is None:
        raise error
    return InputError(str(error.strerror), where=str(error.filename), hint="Check the path and its rights")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; a mistake of the user's ends in one line on stderr and the error's exit code."""
    try:
        args = build_parser().parse_args(argv)
        args.typed = shlex.join(["datagen", *(sys.argv[1:] if argv is None else argv)])
        if args.command == "run" and not args.run:
            args.run = f"runs/{recipe_path(args.recipe).stem}"
        only_of_tables(args)
        if getattr(args, "dry_run", False) and args.command != "finetune":
            dry_run(args)
        else:
            COMMANDS[args.command].run(args)
    except BudgetReached as stopped:
        say(f"datagen: {stopped}\n{going_on(sys.argv[1:] if argv is None else argv, stopped)}")
        return stopped.exit_code
    except DatagenError as error:
        say(f"datagen: {error}")
        return error.exit_code
    except Interrupted as stopped:
        say(str(stopped))
        return stopped.exit_code
    except KeyboardInterrupt:
        say("Stopped. What was finished is kept; run the same command to go on")
        return Interrupted.exit_code
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        mistake = unreachable(error)
        say(f"datagen: {mistake}")
        return mistake.exit_code
    return 0
