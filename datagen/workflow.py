"""A run's stages wired to their collaborators, in order, each resumable on its own.

    1-questions (rounds) -> 2-dedup -> 3-solve -> 4-decontaminate -> dataset/

`Run` holds what the stages share; `run` opens it for one command.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from datagen.card import card
from datagen.collaborators import LazySandbox, idleness, opened_engines, room
from datagen.config import DEFAULT_TARGET, DedupConfig, SolveConfig, shaping
from datagen.earlier import INDEX, kept_before
from datagen.errors import InputError, UsageError
from datagen.files import read_json, write_json
from datagen.interrupt import Interrupt
from datagen.ledger import read_outcomes
from datagen.models import Engine, Outcome, PromptItem, Question, Row, Say, content_id
from datagen.pipeline import Canary, drive, finish, run_whole_set
from datagen.progress import Progress
from datagen.prompts import Prompt, load_prompt, prompt_folders
from datagen.publication import card_facts, sources
from datagen.recipe import Recipe
from datagen.resources import find, resource
from datagen.sets import Selection
from datagen.shards import Shard, gather, parts
from datagen.similarity.index import KeptIndex, save
from datagen.spending import Meter, check_budget, spent_of
from datagen.stages import dedup, export, questions, solve
from datagen.stages.dedup import Deduplicated
from datagen.stages.export import Exported
from datagen.stages.solve import SolveEngines, SolvePrompts
from datagen.store import (
    DECONTAMINATE,
    DEDUP,
    QUESTIONS,
    ROUNDS,
    SOLVE,
    Report,
    RunFolder,
    StageFolder,
    finished_table,
    read_manifest,
    read_report,
)
from datagen.tables import count_rows, iter_rows, read_table
from datagen.verification import (
    Verifier,
    decontaminated,
    judge_prompt,
    judge_settings,
    judging,
    load_items,
    marks,
    used_engines,
)
from datagen.waves import Waves

ORDER = ("prompt_index", "position")
"""The order in which questions were planned: who comes first is kept, whatever is asked for later."""
QUESTIONS_PER_ROW = 16
"""Raw questions for each row of --target-rows at which a run gives up; Code Llama's set took four (section 2.5)."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, its recipe and what its stages are handed. One command works on it at a time.

    With a `shard`, the folder is that part's own, and what was done before is read from the run that it is a part of.
    """

    folder: RunFolder
    recipe: Recipe
    engines: Mapping[str, Engine]
    sandbox: LazySandbox
    interrupt: Interrupt
    say: Say
    shard: Shard | None = None

    # -- questions and dedup, in rounds ---------------------------------------------------------------------------

    async def questions(self) -> Report:
        """Rounds of prompts until `count` raw or `target` unique questions are there, or the budget is spent.

        Ends with dedup of what there is, so that `solve` can follow.
        """
        config = self.recipe.questions
        if self.shard is not None:
            return await self._part_of_questions(self.shard)
        if config.count:
            report, _ = await self._rounds(config.count, lambda report: report.kept)
            self.dedup()
        else:
            report, _ = await self._rounds(config.target or DEFAULT_TARGET, lambda _: self.dedup().kept)
        return report

    async def _part_of_questions(self, shard: Shard) -> Report:
        """A part of the first round's prompts: later rounds are sized by what that gave, so they follow the merge."""
        config, asked = self.recipe.questions, self._asked()
        if (shard.base / QUESTIONS / "ledger").exists():
            raise UsageError(f"{shard.base} has questions already", hint="Go on without --shard, or give another --run")
        stage = self._stage(QUESTIONS, asked.settings)
        rounds = [questions.next_round(0, config.count or config.target or DEFAULT_TARGET, 0, 0, config)]
        write_json(stage.path / "rounds.json", rounds)
        return await self._ask(stage, asked, rounds)

    async def _rounds(self, want: int, reached: Callable[[Report], int]) -> tuple[Report, int]:
        """Rounds until `reached` says `want`; the last report, and how many were reached.

        Each round is whole before the next is sized, so that a killed run asks for the same prompts again.
        """
        asked = self._asked()
        stage = self._stage(QUESTIONS, asked.settings)
        path = stage.path / "rounds.json"
        rounds: list[int] = read_json(path, [])
        report = None
        while True:
            if rounds:
                report = await self._ask(stage, asked, rounds)
            have = reached(report) if report else 0
            more = questions.next_round(have, want, report.kept if report else 0, sum(rounds), self.recipe.questions)
            if more == 0:
                break
            rounds.append(more)
            write_json(path, rounds)
        if report is None:
            raise UsageError("nothing to generate", hint="Give --count or --target 1 or more")
        if have < want:
            why = "--max-generated is spent" if have else "no prompt gave a usable question"
            self.say(f"stopped at {have:,} of {want:,} questions: {why}")
        return report, have

    def _asked(self) -> _Asked:
        config = self.recipe.questions
        topics, examples = find(config.topics, "data"), resource("data/seed-questions.toml")
        read = questions.load_topics(topics), questions.load_examples(examples)
        prompt = load_prompt("questions", prompt_folders(self.recipe.run.prompts), questions.VARIABLES)
        settings = self._settings("questions", config, prompt) | {
            "topics_digest": _file_digest(topics),
            "examples_digest": _file_digest(examples),
        }
        return _Asked(prompt, *read, settings)

    async def _ask(self, stage: StageFolder, asked: _Asked, rounds: Sequence[int]) -> Report:
        config, seed = self.recipe.questions, self.recipe.run.seed
        work = partial(
            questions.questions, engine=self.engines["questions"], prompt=asked.prompt, config=config,
            topics=asked.topics, examples=asked.examples, seed=seed,
        )  # fmt: skip
        items = self._part(self._prompt_items(asked, rounds), stage, lambda item: item.id)
        canary = Canary(config.canary, str(asked.prompt.path), _share_kept)
        await self._drive(
            stage, items, lambda item: item.id, work, "questions", canary, questions.most(asked.prompt, config)
        )
        return finish(stage, Question, (item.id for item in items))

    def _prompt_items(self, asked: _Asked, rounds: Sequence[int]) -> list[PromptItem]:
        config, seed = self.recipe.questions, self.recipe.run.seed
        make = partial(questions.prompt_item, seed=seed, topics=asked.topics, config=config)
        return [make(index, number) for index, number in enumerate(_round_of_each(rounds))]

    def dedup(self, *, unlimited: bool = False) -> Report:
        """Drops duplicates of what the questions stage holds; what is over the count or target is `surplus`."""
        frame = read_table(finished_table(self.folder.path, QUESTIONS))
        config = self.recipe.dedup
        limits = (0, 0) if unlimited else (self.recipe.questions.count, self.recipe.questions.target)
        stage = self._whole_set(DEDUP, config)
        with self.folder.timed(DEDUP, time.monotonic):
            against = kept_before(config, len(frame), own=self.folder.path)
            selection, done = _unique(frame, config, limits, against, None if limits[0] else stage.path / ROUNDS)
            report = run_whole_set(stage, frame, lambda _: selection, Question, notes={"dedup": done.work})
            save(done.index.only(selection.kept["id"]), stage.path / INDEX)
            return report

    # -- tests, candidates, the first that passes -------------------------------------------------------------------

    async def solve(self) -> Report:
        """Tests, then n candidates, for every unique question; the first candidate that passes all is its row."""
        path, config = finished_table(self.shard.base if self.shard else self.folder.path, DEDUP), self.recipe.solve
        prompts, settings = self._solving()
        stage = self._stage(SOLVE, settings)
        work = partial(
            solve.solve, engines=SolveEngines(self.engines["tests"], self.engines["solutions"]),
            sandbox=self.sandbox, prompts=prompts, config=config, seed=self.recipe.run.seed,
            waves=Waves(idleness(self.engines["solutions"])),
        )  # fmt: skip
        total = min(config.limit or sys.maxsize, count_rows(path))
        ids = self._part([question.id for question in _first(path, total)], stage, str)
        items = _only(_first(path, total), ids) if self.shard else _first(path, total)
        canary = Canary(config.canary, str(prompts.tests.path), _parsed_well)
        await self._drive(
            stage, items, lambda item: item.id, work, "solve", canary, solve.most(prompts, config), len(ids)
        )
        if self.sandbox.level:
            self.folder.update_manifest(sandbox=self.sandbox.level)
        return finish(stage, Row, ids, candidates=True, figures=partial(_yields, config=config))

    def _solving(self) -> tuple[SolvePrompts, dict[str, Any]]:
        folders, config = prompt_folders(self.recipe.run.prompts), self.recipe.solve
        tests = load_prompt("tests", folders, solve.TESTS_VARIABLES)
        solutions = load_prompt("solutions", folders, solve.SOLUTIONS_VARIABLES)
        settings = self._settings("tests", config, tests) | self._settings("solutions", config, solutions)
        return SolvePrompts(tests, solutions), settings

    # -- the rest works on whole sets -------------------------------------------------------------------------------

    async def decontaminate(self, *, target_rows: int = 0) -> Report:
        """Drops rows that overlap a benchmark; rows over `target_rows` are `surplus`."""
        rows, config = read_table(finished_table(self.folder.path, SOLVE)), self.recipe.decontaminate
        items, missing = load_items(config)
        stage = self._whole_set(DECONTAMINATE, config)
        for name, why in missing.items():
            self.say(f"not checked against {name}: {why}")
        judge = judging(self.recipe, self.engines)
        verifier = Verifier(self.folder, DECONTAMINATE, config, self.sandbox, self.interrupt, judge)
        with self.folder.timed(DECONTAMINATE, time.monotonic):
            found = await decontaminated(rows, items, verifier, seed=self.recipe.run.seed)
            dropped, tables = found.selection.dropped, {"hits": found.hits, "coverage": found.coverage}
            if config.mark:
                tables["marked"] = pl.DataFrame({"source_id": rows["id"], "contamination": marks(rows, dropped)})
            split = self._cut_rows(Selection(rows, dropped.clear()) if config.mark else found.selection, target_rows)
            notes: dict[str, Any] = {"decontamination": found.report} | (
                {"not_checked": sorted(missing)} if missing else {}
            )
            return run_whole_set(stage, rows, lambda _: split, Row, notes=notes, tables=tables, owed=found.owed)

    def _cut_rows(self, found: Selection, target: int) -> Selection:
        """Keeps the first `target` rows in ORDER (0: all), so that a raised target keeps what was kept."""
        if not target or found.kept.height <= target:
            return found
        order = read_table(finished_table(self.folder.path, DEDUP)).select("id", *ORDER)
        ranked = found.kept.join(order, on="id", how="left").sort(*ORDER).drop(*ORDER)
        return Selection(ranked.head(target), _with_surplus(found.dropped, ranked.slice(target), "target-rows"))

    def export(self) -> Exported:
        """Writes the data set folder with its card."""
        facts = card_facts(self.folder.path, self.recipe, self._prompts())
        out = self.folder.path / "dataset"
        exported = export.export(sources(self.folder.path), out, self.recipe.export, card(facts))
        self.folder.write_recipe(self.recipe.to_toml())
        if exported.message:
            self.say(exported.message)
        return exported

    def _prompts(self) -> dict[str, Prompt]:
        solving, _ = self._solving()
        prompts = {"questions": self._asked().prompt, "tests": solving.tests, "solutions": solving.solutions}
        return prompts | ({"judge": judge_prompt(self.recipe)} if self.recipe.decontaminate.judge else {})

    async def preview(self) -> None:
        """Questions and solve of the few that the recipe asks for; nothing is exported."""
        await self.questions()
        await self.solve()

    async def everything(self, target_rows: int = 0) -> None:
        """All stages in order; with `target_rows`, round after round until that many rows are there.

        Prompts, settings and benchmarks are checked first: what is wrong is said before anything is spent.
        """
        stages = {QUESTIONS: self._asked().settings, SOLVE: self._solving()[1]}
        if self.recipe.decontaminate.judge:
            stages[f"{DECONTAMINATE}/judge"] = judge_settings(self.recipe, judge_prompt(self.recipe))
        for name, settings in stages.items():
            self.folder.check(name, settings)
        check_budget(self.recipe.budget, self.recipe.engines)
        load_items(self.recipe.decontaminate)
        if target_rows:
            await self._until(target_rows)
        else:
            await self.questions()
            await self.solve()
            await self.decontaminate()
        self.export()

    async def _until(self, target: int) -> None:
        """Raises the number of unique questions by the yield measured so far until `target` rows are verified."""
        limit = self.recipe.questions.max_generated or QUESTIONS_PER_ROW * target
        want = target
        while True:
            raw, unique = await self._rounds(want, lambda _: self.dedup(unlimited=True).kept)
            await self.solve()
            rows = await self.decontaminate(target_rows=target)
            good = rows.kept + rows.dropped.get("surplus", 0)
            if good >= target:
                return
            if raw.kept >= limit or unique < want:
                self.say(f"stopped at {good:,} of {target:,} rows: the budget of {limit:,} questions is spent")
                return
            want = math.ceil(unique * min(4.0, target / max(good, 1)) * 1.05) + 1

    # -- one run made of several --------------------------------------------------------------------------------------

    async def next_part(self) -> None:
        """The shard's part of what comes next: of the questions, or once they are merged, of solve."""
        if self.shard is not None and (self.shard.base / DEDUP / "report.json").exists():
            await self.solve()
        else:
            await self.questions()

    def merge(self, folders: Sequence[Path] = ()) -> list[Report]:
        """Puts the finished shards of each stage together, as if one process had made it; no model is asked.

        `folders` are the shards' (default: those in the run's own folder). What the run did since an earlier merge,
        such as more rounds of questions, stays; InputError where it has to finish that. Other errors as of
        `shards.parts`.
        """
        reports = []
        if paths := parts(self.folder.path, QUESTIONS, folders):
            reports += self._merged_questions(paths)
        if paths := parts(self.folder.path, SOLVE, folders):
            reports.append(self._merged_rows(paths))
        if not reports:
            hint = f"Make them with --shard i/N --run {self.folder.path}, or name their folders"
            raise InputError("holds no shards", where=str(self.folder.path), hint=hint)
        return reports

    def _merged_questions(self, paths: Sequence[Path]) -> list[Report]:
        """The reports of questions and dedup, which are made anew only where the shards have something to add."""
        stage, added = self._gathered(QUESTIONS, paths, Question)
        noted = stage.path / "rounds.json"
        rounds = max(read_json(noted, []), read_json(paths[0] / "rounds.json"), key=sum)
        if not added and (reports := self._deduplicated(sum(rounds))):
            return reports
        write_json(noted, rounds)
        ids = [item.id for item in self._prompt_items(self._asked(), rounds)]
        self._require(stage, ids, "questions")
        return [finish(stage, Question, ids), self.dedup()]

    def _deduplicated(self, prompts: int) -> list[Report]:
        """The reports of questions and dedup, if they are of so many prompts."""
        asked, unique = read_report(self.folder.path / QUESTIONS), read_report(self.folder.path / DEDUP)
        if asked is None or unique is None or (asked.inputs, asked.kept) != (prompts, unique.inputs):
            return []
        return [asked, unique]

    def _merged_rows(self, paths: Sequence[Path]) -> Report:
        path = finished_table(self.folder.path, DEDUP)
        stage, _ = self._gathered(SOLVE, paths, Row)
        ids = [question.id for question in _first(path, self.recipe.solve.limit or sys.maxsize)]
        self._require(stage, ids, "solve")
        return finish(stage, Row, ids, candidates=True, figures=partial(_yields, config=self.recipe.solve))

    def _gathered(self, name: str, paths: Sequence[Path], kept_type: type[Any]) -> tuple[StageFolder, int]:
        """The stage with what the shards hold in its ledger, and how many items that added."""
        stage = self._stage(name, read_json(paths[0] / "settings.json"))
        added = gather(paths, stage, kept_type)
        self.say(f"{name}: {added:,} items of {len(paths)} shards")
        if levels := [level for path in paths if (level := read_manifest(path.parent).get("sandbox"))]:
            self.folder.update_manifest(sandbox=max(levels))  # "L1" is weaker than "L0"
        return stage, added

    def _require(self, stage: StageFolder, ids: Sequence[str], command: str) -> None:
        """InputError with the command to type, where neither a shard nor the run itself has done one of these items."""
        if left := len(set(ids) - stage.ledger.done - stage.ledger.failed):
            what = f"the shards are merged, but of {len(ids):,} items {left:,} are still to go"
            hint = f"Type: datagen {command} --run {self.folder.path}, then merge again"
            raise InputError(what, where=str(stage.path), hint=hint)

    def _part(self, items: list[Item], stage: StageFolder, item_id: Callable[[Item], str]) -> list[Item]:
        """The shard's part of a stage's inputs; without a shard, all of them."""
        if self.shard is None:
            return items
        self.shard.note(stage, map(item_id, items))
        return self.shard.part(items)

    # -- helpers ----------------------------------------------------------------------------------------------------

    async def _drive(
        self, stage: StageFolder, items: Any, item_id: Callable[[Any], str],
        work: Callable[[Any], Awaitable[Outcome[Any]]], step: str, canary: Canary, most: Mapping[str, int],
        total: int | None = None,
    ) -> None:  # fmt: skip
        """Drives a per-item stage with this run's concurrency, progress, clock and interrupt."""
        steps = ("tests", "solutions") if step == "solve" else (step,)
        wanted = room(self.recipe.engines[steps[-1]], [self.engines[step] for step in steps])
        count = total if total is not None else len(items)
        progress = Progress(stage.name, stream=sys.stderr, clock=time.monotonic, total=count)
        meter = Meter(
            stage.name, self.recipe.budget, self.recipe.engines, before=spent_of(read_manifest(self.folder.path)),
            most=most, save=lambda spent: self.folder.update_manifest(spent={stage.name: spent}), clock=time.monotonic,
            cuts=step == "solve" and self.shard is None,
        )  # fmt: skip
        with self.folder.timed(stage.name, time.monotonic):
            await drive(
                items, work, stage, item_id=item_id, concurrency=wanted, progress=progress,
                interrupt=self.interrupt, canary=canary, meter=meter,
            )  # fmt: skip

    def _stage(self, name: str, settings: Mapping[str, Any]) -> StageFolder:
        """The stage's folder; once its settings are accepted, the recipe is written down as the run's."""
        stage = self.folder.stage(name, settings)
        self.folder.write_recipe(self.recipe.to_toml())
        return stage

    def _settings(self, step: str, config: Any, prompt: Prompt) -> dict[str, Any]:
        """What shapes the results of a step: its settings, its engine's, the seed, the prompt's digest."""
        engine = {f"{step}_{key}": value for key, value in shaping(self.recipe.engines[step]).items()}
        return shaping(config) | engine | {"seed": self.recipe.run.seed, f"{step}_prompt": prompt.digest}

    def _whole_set(self, name: str, config: Any) -> StageFolder:
        """A whole-set stage starts over, so its settings are those of now."""
        path = self.folder.path / name / "settings.json"
        if path.exists():
            write_json(path, shaping(config))
        return self._stage(name, shaping(config))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the questions stage asks with, and the settings that go into its digest."""

    prompt: Prompt
    topics: Sequence[questions.Topic]
    examples: Sequence[str]
    settings: Mapping[str, Any]


async def run(
    folder: Path, recipe: Recipe, work: Callable[[Run], Awaitable[object]], say: Say, shard: Shard | None = None
) -> None:
    """Opens the folder of a run or a shard, with engines and sandbox, writes recipe and manifest, and does the work."""
    with RunFolder(shard.folder if shard else folder) as opened:
        used = used_engines(recipe)
        models = {step: {"model": config.model, "revision": config.revision} for step, config in used.items()}
        opened.update_manifest(recipe=recipe.name, seed=recipe.run.seed, models=models)
        async with opened_engines(used, say) as engines, LazySandbox(recipe.run, used.values()) as sandbox:
            interrupt = Interrupt(say)
            with interrupt.installed():
                await work(Run(opened, recipe, engines, sandbox, interrupt, say, shard))


def then(step: Callable[[Run], object]) -> Callable[[Run], Awaitable[None]]:
    """A whole-set stage as work that can be awaited."""

    async def work(run: Run) -> None:
        step(run)

    return work


def outcomes(stage: Path) -> Iterator[Outcome[Row]]:
    """What was tried and found for each item of a solve stage, by id; takes no lock."""
    return read_outcomes(stage / "ledger", Row)


def _round_of_each(rounds: Sequence[int]) -> Iterator[int]:
    return (number for number, size in enumerate(rounds) for _ in range(size))


def _first(path: Path, limit: int) -> Iterator[Question]:
    return (question for _, question in zip(range(limit), iter_rows(path, Question), strict=False))


def _only(items: Iterator[Question], ids: Sequence[str]) -> Iterator[Question]:
    """The questions with these ids."""
    wanted = set(ids)
    return (item for item in items if item.id in wanted)


def _file_digest(path: Path) -> str:
    return content_id(path.read_text(encoding="utf-8"))


def _share_kept(outcome: Outcome[Any]) -> float:
    """The canary of questions: how much of what was listed could be used."""
    return len(outcome.kept) / (len(outcome.kept) + len(outcome.drops))


def _parsed_well(outcome: Outcome[Any]) -> float:
    """The canary of solve: 1 if tests and a candidate could be read, whether or not any passed."""
    unread = {"tests-unparsable", "tests-too-few", "solutions-unparsable"}
    return float(not any(drop.reason in unread for drop in outcome.drops))


def _yields(outcome: Outcome[Any], config: SolveConfig) -> dict[str, int]:
    """What a solve outcome adds to the report's notes: the yield of either way to choose tests, what was saved."""
    tried = outcome.attempts
    passed = {"passed_plain": int(bool(tried.passed_plain)), "passed_consensus": int(bool(tried.passed_consensus))}
    return passed | (_saved(outcome, config.n) if config.early_stop else {})


def _saved(outcome: Outcome[Any], n: int) -> dict[str, int]:
    """What early stop spared a question: candidates, and the tokens that they would have had at its others' mean."""
    calls = [call.completion for call in outcome.attempts.calls if call.step.startswith("solutions")]
    drawn = sum(len(completion.samples) for completion in calls)
    if not drawn:
        return {}
    left, written = n - drawn, sum(completion.completion_tokens for completion in calls)
    return {"candidates_drawn": drawn, "candidates_saved": left, "tokens_saved": round(written / drawn * left)}


def _unique(
    frame: pl.DataFrame, config: DedupConfig, limits: tuple[int, int], against: KeptIndex | None, rounds: Path | None
) -> tuple[Selection, Deduplicated]:
    """Dedup of the first `count` raw questions; of what is kept, the first `target` (0: all)."""
    count, target = limits
    ordered = frame.sort(*ORDER)
    taken, rest = (ordered.head(count), ordered.slice(count)) if count else (ordered, ordered.clear())
    done = dedup.deduplicate(taken, config, priority=ORDER, against=against, rounds=rounds)
    found = done.selection
    kept, over = found.kept, found.kept.clear()
    if target and not count:
        ranked = found.kept.sort(*ORDER)
        kept, over = ranked.head(target), ranked.slice(target)
    dropped = _with_surplus(_with_surplus(found.dropped, rest, "count"), over, "target")
    return Selection(kept, dropped), done


def _with_surplus(dropped: pl.DataFrame, rest: pl.DataFrame, limit: str) -> pl.DataFrame:
    """The dropped rows and, below them, `rest` with the reason surplus."""
    surplus = rest.select(
        source_id=pl.col("id"), reason=pl.lit("surplus"), detail=pl.lit(f"over --{limit}"), text=pl.col("question")
    )
    return pl.concat([dropped, surplus], how="diagonal_relaxed")
