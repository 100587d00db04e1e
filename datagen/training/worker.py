"""One process of a fine-tune: `python -m datagen.training.worker JOB`, started by itself or by accelerate."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from datagen.codec import from_json
from datagen.errors import DatagenError, Interrupted
from datagen.training.trainer import Work, train


def main(job: str) -> int:
    """Trains what the job file describes; the exit code is that of datagen.errors. The first process speaks."""
    work = from_json(json.loads(Path(job).read_text(encoding="utf-8")), Work)
    first = os.environ.get("RANK", "0") == "0"
    try:
        train(work, lambda text: print(text, file=sys.stderr, flush=True) if first else None)
    except (DatagenError, Interrupted) as error:
        if first:
            print(f"datagen: {error}" if isinstance(error, DatagenError) else error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
