"""A tiny job: settings, and everything that a worker needs written into a folder."""

from __future__ import annotations

import json
from pathlib import Path

from datagen.config import FinetuneConfig
from datagen.training.encode import encode_all, open_encoder, padding_token
from datagen.training.plan import plan, write
from datagen.training.rows import read_source
from datagen.training.trainer import LOG, Work

TINY = FinetuneConfig(
    model="tiny", length=64, packing="off", epochs=2, batch=4, micro_batch=2, learning_rate=1e-3, precision="float32",
    threads=1, save_steps=4, distributed="single", warm_up=0,
)  # fmt: skip


def work(tiny, table, folder, config=TINY, processes=1):
    """A job on the tiny model, its sequences written."""
    encoder = open_encoder(tiny, "", everything=False)
    encoded = encode_all(read_source(str(table)).pairs, encoder, config.length)
    planned = plan(encoded.examples, config, 0, processes)
    folder.mkdir(parents=True)
    write(planned, folder / "data")
    padding = padding_token(encoder.tokenizer, encoder.ends, 1600)
    where = {"model": str(tiny), "data": str(folder / "data"), "folder": str(folder), "out": str(folder / "model")}
    return Work(**where, config=config, schedule=planned.schedule, seed=0, padding=padding)


def log(job):
    """The lines of a job's log."""
    return [json.loads(line) for line in (Path(job.folder) / LOG).read_text().splitlines()]
