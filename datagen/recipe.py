"""A recipe is a TOML file that fixes a whole run: tables run, engine, questions, dedup, solve, decontaminate, export,
budget and, where the loop is closed (loop.py), finetune and loop.

`[engine]` names the model of every step; `[engine.questions]`, `[engine.tests]`, `[engine.solutions]` and
`[engine.judge]` override it for one. The resolved recipe is written into the run's folder and re-runs as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from datagen.config import (
    BudgetConfig,
    DecontaminateConfig,
    DedupConfig,
    EngineConfig,
    ExportConfig,
    FinetuneConfig,
    LoopConfig,
    QuestionsConfig,
    RunConfig,
    SolveConfig,
    as_table,
    build,
    load_toml,
    unknown_key,
)
from datagen.errors import UsageError

STEPS = ("questions", "tests", "solutions", "judge")
TABLES: dict[str, type] = {
    "run": RunConfig,
    "engine": EngineConfig,
    "questions": QuestionsConfig,
    "dedup": DedupConfig,
    "solve": SolveConfig,
    "decontaminate": DecontaminateConfig,
    "export": ExportConfig,
    "budget": BudgetConfig,
    "finetune": FinetuneConfig,
    "loop": LoopConfig,
}
SHIPPED = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every setting of a run, resolved. `engines` holds one EngineConfig for each of STEPS."""

    name: str
    run: RunConfig
    engines: Mapping[str, EngineConfig]
    questions: QuestionsConfig
    dedup: DedupConfig
    solve: SolveConfig
    decontaminate: DecontaminateConfig
    export: ExportConfig
    budget: BudgetConfig
    finetune: FinetuneConfig
    loop: LoopConfig

    def to_toml(self) -> str:
        """The recipe as a file: each table whole, unset (None) keys left out; no loop, no tables about it."""
        used = [key for key in TABLES if key != "engine" and (self.loop.benchmarks or key not in ("finetune", "loop"))]
        tables = {key: asdict(getattr(self, key)) for key in used}
        tables["engine"] = {step: asdict(config) for step, config in self.engines.items()}
        head = f"# datagen run {self.name}\n"
        return head + tomli_w.dumps({name: _set(table) for name, table in sorted(tables.items())})


def shipped() -> tuple[str, ...]:
    """The names of the recipes that ship with datagen."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe's name or of a path; UsageError naming the known ones."""
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"no recipe {name}", hint=f"Known: {', '.join(shipped())}; or give the path of a TOML file")
    return path


def load_recipe(path: Path | None, flags: Mapping[str, Mapping[str, Any]], *, name: str = "") -> Recipe:
    """The defaults, overridden by the file (if any), overridden by `flags` (table -> key -> value or None)."""
    tables = load_toml(path) if path else {}
    flags = {**flags, "questions": _one_goal(flags.get("questions", {}))}
    where = str(path or "command line")
    for table in tables:
        if table not in TABLES:
            raise unknown_key(table, TABLES, where)
    built: dict[str, Any] = {
        key: build(cls, as_table(tables.get(key, {}), key, where), flags.get(key, {}), where=f"{where} [{key}]")
        for key, cls in TABLES.items()
        if key != "engine"
    }
    return Recipe(name or (path.stem if path else "default"), engines=_engines(tables, flags, where), **built)


def _one_goal(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of questions: a --count lifts the recipe's target, a --target its count; UsageError for both."""
    count, target = flags.get("count"), flags.get("target")
    if count and target:
        hint = "Give --count for raw questions, or --target for unique ones"
        raise UsageError("--count and --target exclude each other", hint=hint)
    lifted = {"target": 0} if count else {"count": 0} if target else {}
    return {**flags, **lifted}


def _engines(tables: Mapping[str, Any], flags: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, EngineConfig]:
    """A step's engine: defaults < [engine] < [engine.STEP] < flags for all steps < flags for the step."""
    engine = dict(as_table(tables.get("engine", {}), "engine", where))
    own = {step: as_table(engine.pop(step, {}), f"engine.{step}", where) for step in STEPS}
    return {
        step: build(
            EngineConfig,
            engine | own[step],
            _set(flags.get("engine", {})) | _set(flags.get(f"engine.{step}", {})),
            where=f"{where} [engine]",
        )
        for step in STEPS
    }


def _set(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
