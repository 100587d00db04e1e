"""Replay: functions as engines, and recorded runs as functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.config import EngineConfig
from datagen.engines import BACKENDS, open_engine
from datagen.engines.replay import Replay, replay_run
from datagen.errors import InputError, RequestFailed, UsageError
from datagen.ledger import Ledger
from datagen.models import Attempts, Call, Completion, Message, Outcome, Request, Sample, Sampling


def ask(i: int, n: int = 2) -> Request:
    return Request((Message("user", f"question {i}"),), Sampling(n=n, seed=i))


def samples(i: int) -> tuple[Sample, ...]:
    return (Sample(f"text {i}\n\u2028", "length", "thought"), Sample("", "stop"))


def record(run: Path, stage: str, numbers: range, **ledger: int) -> None:
    """A stage's ledger in which each item made one call."""
    book = Ledger(run / stage / "ledger", **ledger)
    for i in numbers:
        call = Call("solutions", ask(i).digest(), Completion(samples(i)))
        book.append(Outcome(f"item-{i}", attempts=Attempts(calls=(call,))))
    book.close()


async def test_a_function_is_an_engine():
    """A plain function answers, and its name for the model is kept."""
    engine = Replay(lambda request: Completion((Sample(request.prompt or ""),)), "mine")
    assert (await engine.complete(Request(prompt="x"))).samples == (Sample("x"),)
    assert engine.model == "mine"


async def test_an_asynchronous_function_is_awaited():
    """The answer may take its time."""

    async def slow(request: Request) -> Completion:
        return Completion((Sample("later"),))

    assert (await Replay(slow).complete(Request())).samples == (Sample("later"),)


async def test_a_recorded_run_answers_as_it_did(tmp_path: Path):
    """Calls of all stages are found again, whole: texts, finish reasons, reasoning; from packed segments too."""
    record(tmp_path, "1-questions", range(20), rotate_lines=6)
    record(tmp_path, "3-solve", range(20, 25))
    engine = await open_engine(EngineConfig(engine="replay", replay=str(tmp_path), model="theirs"))
    answers = [(await engine.complete(ask(i))).samples for i in range(25)]
    assert answers == [samples(i) for i in range(25)]
    assert engine.model == "theirs"


async def test_a_request_that_was_not_recorded_fails(tmp_path: Path):
    """Another n, seed or prompt is another request."""
    record(tmp_path, "3-solve", range(1))
    with pytest.raises(RequestFailed, match="did not record"):
        await Replay(replay_run(tmp_path)).complete(ask(0, n=3))


def test_a_folder_without_calls_is_an_input_error(tmp_path: Path):
    """A wrong path is said before the first request."""
    with pytest.raises(InputError, match="no recorded calls"):
        replay_run(tmp_path / "nothing")


async def test_replay_needs_a_run():
    """The engine cannot be chosen without saying what to replay."""
    with pytest.raises(UsageError, match="--replay"):
        await open_engine(EngineConfig(engine="replay"))


async def test_an_unknown_engine_is_a_usage_error():
    """The engines that there are get named."""
    with pytest.raises(UsageError, match="vllm, server, batch, ray, replay"):
        await open_engine(EngineConfig(engine="magic"))


def test_the_setting_lists_every_backend():
    """What can be chosen is what there is."""
    choices = EngineConfig.__dataclass_fields__["engine"].metadata["choices"]
    assert set(choices) == set(BACKENDS)
