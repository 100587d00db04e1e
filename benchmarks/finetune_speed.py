"""What `datagen finetune` costs beside TRL used plainly and beside a bare loop, and how full packed sequences are.

    python -m benchmarks.finetune_speed --repetitions 3

One model (the demo's), the same 256 rows of the demo's problem generator, the same 24 steps of 16 rows by AdamW on one
CPU thread, each way in a process of its own, in turns. `datagen` starts where its preflight is over: sequences are
written, the worker reads them. CPU seconds are those of the process, start-up included, and of the steps alone. Packing
is measured on the same rows and on made-up lengths (log-normal, median 350 tokens, as of questions with solutions).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

from datagen.config import FinetuneConfig
from datagen.demo.seeds import seed_rows
from datagen.resources import resource as shipped
from datagen.training.encode import Example, encode_all, open_encoder, padding_token
from datagen.training.plan import plan, write
from datagen.training.rows import read_source
from datagen.training.trainer import Work

ROWS, STEPS, BATCH, LENGTH = 256, 24, 16, 256
CONFIG = FinetuneConfig(
    model="demo-model", length=LENGTH, packing="off", max_steps=STEPS, batch=BATCH, micro_batch=BATCH,
    learning_rate=1e-4, schedule="constant", warm_up=0, precision="float32", activation_checkpointing="off",
    distributed="single", threads=1, save_steps=STEPS, max_grad_norm=1.0,
)  # fmt: skip

OURS = "import sys; from datagen.training.worker import main; from benchmarks.finetune_speed import timed; timed(main)"
PLAIN = """
import json, sys
from datasets import load_dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer
import torch
from benchmarks.finetune_speed import BATCH, LENGTH, STEPS, timed

def main(folder):
    torch.set_num_threads(1)
    rows = load_dataset("json", data_files=f"{folder}/chat.jsonl", split="train", cache_dir=f"{folder}/cache")
    model = AutoModelForCausalLM.from_pretrained(json.load(open(f"{folder}/job.json"))["model"], dtype=torch.float32)
    args = SFTConfig(
        output_dir=f"{folder}/plain", max_steps=STEPS, per_device_train_batch_size=BATCH, max_length=LENGTH, bf16=False,
        use_cpu=True, gradient_checkpointing=False, learning_rate=1e-4, lr_scheduler_type="constant", logging_steps=1,
        save_steps=STEPS, report_to="none", disable_tqdm=True,
    )
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows)
    trainer.train()
    trainer.save_model()

timed(main)
"""
BARE = """
import json, sys
import torch
from datasets import load_from_disk
from transformers import AutoModelForCausalLM
from benchmarks.finetune_speed import BATCH, STEPS, timed

def main(folder):
    torch.set_num_threads(1)
    rows = load_from_disk(f"{folder}/data")
    model = AutoModelForCausalLM.from_pretrained(json.load(open(f"{folder}/job.json"))["model"], dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for step in range(STEPS):
        batch = rows[step * BATCH : (step + 1) * BATCH]
        pad = lambda lists, fill: torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(one) for one in lists], batch_first=True, padding_value=fill
        )
        ids, labels = pad(batch["input_ids"], 0), pad(batch["labels"], -100)
        mask = pad([[1] * len(one) for one in batch["input_ids"]], 0)
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(f"{folder}/bare")

timed(main)
"""


def timed(main: object) -> None:
    """Runs main(argument) in this process and prints its CPU seconds."""
    argument = sys.argv[-1]
    before = resource.getrusage(resource.RUSAGE_SELF)
    main(argument)  # type: ignore[operator]  # each way's own function
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(f"cpu {after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.3f}")


def prepare(folder: Path) -> None:
    """The rows as a table, as chats for TRL, and as datagen's sequences with its job."""
    rows = seed_rows(ROWS, 0)
    table = folder / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chats = [
        {
            "prompt": [{"role": "user", "content": row["question"]}],
            "completion": [{"role": "assistant", "content": row["solution"]}],
        }
        for row in rows
    ]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats), encoding="utf-8")
    model = shipped("data/demo-model")
    encoder = open_encoder(model, "", everything=False)
    examples = encode_all(read_source(str(table)).pairs, encoder, LENGTH).examples
    planned = plan(examples, CONFIG, 0, 1)
    write(planned, folder / "data")
    work = Work(
        str(model), str(folder / "data"), str(folder / "job"), str(folder / "model"), CONFIG, planned.schedule, 0,
        padding_token(encoder.tokenizer, encoder.ends),
    )  # fmt: skip
    (folder / "job.json").write_text(json.dumps(asdict(work)), encoding="utf-8")


def cost(code: str, argument: str) -> tuple[float, float]:
    """CPU seconds of the whole process, and of what it timed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(ended.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return whole, float(ended.stdout.rsplit("cpu ", 1)[1].split()[0])


def ways(repetitions: int) -> str:
    """The table of the three ways, medians over the repetitions."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repetitions):
        for name, code in {"datagen finetune": OURS, "TRL, plainly": PLAIN, "bare loop": BARE}.items():
            with tempfile.TemporaryDirectory() as fresh:
                prepare(Path(fresh))
                argument = f"{fresh}/job.json" if code == OURS else fresh
                Path(fresh, "job").mkdir()
                found.setdefault(name, []).append(cost(code, argument))
    medians = {name: [median(column) for column in zip(*costs, strict=True)] for name, costs in found.items()}
    own = medians["datagen finetune"]
    lines = ["| | CPU s, with start-up | CPU s | datagen / it |", "|---|---|---|---|"]
    for name, (whole, steps) in medians.items():
        lines.append(f"| {name} | {whole:.1f} | {steps:.1f} | {own[1] / steps:.2f} |")
    return "\n".join(lines)


def packing() -> str:
    """How full sequences are, single and packed, on short rows and on long ones."""
    rng = random.Random(0)
    long = [min(4096, max(40, int(rng.lognormvariate(5.86, 0.6)))) for _ in range(4000)]
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        encoder = open_encoder(shipped("data/demo-model"), "", everything=False)
        short = [
            len(example.tokens)
            for example in encode_all(read_source(f"{folder}/rows.jsonl").pairs, encoder, LENGTH).examples
        ]
    lines = [
        "| rows | length | filled, single rows | filled, packed | sequences: single / packed |",
        "|---|---|---|---|---|",
    ]
    for name, sizes, length in (("demo", short, 256), ("log-normal", long, 2048), ("log-normal", long, 4096)):
        lines.append(_packed(name, sizes, length))
    return "\n".join(lines)


def _packed(name: str, sizes: Sequence[int], length: int) -> str:
    examples = [Example(str(n), (7,) * size, 1) for n, size in enumerate(sizes) if size <= length]
    config = replace(CONFIG, length=length, epochs=1, max_steps=1, batch=1, micro_batch=1)
    single, packed = (plan(examples, replace(config, packing=way), 0, 1) for way in ("off", "on"))
    counts = f"{single.sequences_per_epoch:,} / {packed.sequences_per_epoch:,}"
    return f"| {name} | {length:,} | {single.filled:.0%} | {packed.filled:.1%} | {counts} |"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    print(f"{packing()}\n\n{ways(args.repetitions)}")


if __name__ == "__main__":
    main()
