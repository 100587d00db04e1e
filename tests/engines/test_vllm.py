"""The vLLM engine where it differs from the others: context, chat templates, death, signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.models import Engine, Message, Request, Sampling

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ASK = Request((Message("user", "Add two numbers."),), Sampling(n=2, max_tokens=24, seed=7))


async def test_the_server_draws_the_same_samples(vllm_engine: Engine, server_engine: Engine):
    """On a CPU, a model answers alike in this process's care and behind vLLM's own server."""
    ours, theirs = await vllm_engine.complete(ASK), await server_engine.complete(ASK)
    assert ours == theirs


async def test_a_prompt_beyond_the_context_fails_alone(vllm_engine: Engine):
    """A prompt that does not fit fails its request, and says how long it is and what fits."""
    with pytest.raises(RequestFailed, match=r"\d+ tokens, the context 1024"):
        await vllm_engine.complete(Request(prompt="x y z " * 600))


async def test_a_long_prompt_that_is_seeded_is_answered(vllm_engine: Engine):
    """Prefills are not chunked on a CPU, where a seeded request in one would kill the engine."""
    requests = [Request(prompt=f"{i} " + "x " * 150, sampling=Sampling(max_tokens=4, seed=i)) for i in range(64)]
    assert len(await asyncio.gather(*(vllm_engine.complete(request) for request in requests))) == 64


async def test_a_setting_that_vllm_rejects_is_said_in_one_line(model_folder: Path):
    """What vLLM says about a setting becomes one line that names the setting."""
    with pytest.raises(EngineUnavailable, match=r"awful"):
        await open_engine(EngineConfig(model=str(model_folder), quantization="awful"))


DRAINING = """
import asyncio, multiprocessing, sys
from datagen.config import EngineConfig
from datagen.engines import open_engine
from datagen.errors import DatagenError
from datagen.interrupt import Interrupt
from datagen.models import Request, Sampling

async def main(folder):
    with Interrupt(lambda line: print("interrupted", flush=True)).installed():
        engine = await open_engine(EngineConfig(model=folder, max_model_len=512), share=0.25)
        asks = [Request(prompt="def", sampling=Sampling(n=4, max_tokens=200, seed=i)) for i in range(48)]
        print("asking", flush=True)
        answers = await asyncio.gather(*(engine.complete(ask) for ask in asks), return_exceptions=True)
        print("answered", sum(not isinstance(answer, Exception) for answer in answers), flush=True)
        multiprocessing.active_children()[0].kill()
        try:
            await engine.complete(asks[0])
        except DatagenError as error:
            print("died", type(error).__name__, error, flush=True)
        await engine.close()
        print("closed", flush=True)

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
"""


async def test_a_ctrl_c_lets_requests_in_flight_finish(model_folder: Path, tmp_path: Path):
    """SIGINT to the whole process group: every request in flight is answered, short as the first prompts are (see
    vllm_worker). Then the engine's process is killed: the next request says so, closing works, and nothing but these
    lines was printed.
    """
    process = _script(DRAINING, tmp_path, model_folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=280)
    assert re.fullmatch(r"interrupted\nanswered 48\ndied EngineUnavailable .*\nclosed\n", out), (out, err)
    assert (process.returncode, err) == (0, "")


LOADING = """
import asyncio, multiprocessing, sys
from datagen.config import EngineConfig
from datagen.engines import open_engine

async def started(config):
    loading = asyncio.create_task(open_engine(config, share=0.25))
    while not multiprocessing.active_children():
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    return loading, multiprocessing.active_children()[0]

async def main(folder):
    loading, child = await started(EngineConfig(model=folder, max_model_len=512))
    print(child.pid, flush=True)
    loading.cancel()
    await asyncio.wait({loading})
    loading, child = await started(EngineConfig(model=folder, max_model_len=512))
    print(child.pid, flush=True)
    await loading

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
"""


async def test_a_stopped_program_leaves_no_engine_behind(model_folder: Path, tmp_path: Path):
    """Cancelling the loading ends the engine's process, and so does kill -9 of the program; else it kept its memory."""
    process = _script(LOADING, tmp_path, model_folder)
    assert process.stdout is not None
    cancelled, killed = process.stdout.readline().strip(), process.stdout.readline().strip()
    process.kill()
    process.communicate()
    assert cancelled != killed
    assert _ends(cancelled) and _ends(killed)


def _ends(pid: str) -> bool:
    """Whether the process ends within 20 seconds; a zombie has ended."""
    for _ in range(200):
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


def _script(text: str, folder: Path, model: Path) -> subprocess.Popen[str]:
    """A program in a process group of its own, as a terminal would start it, without what vLLM has set here."""
    path = folder / "script.py"
    path.write_text(text)
    env = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}
    return subprocess.Popen(
        [sys.executable, path, model], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=env | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
