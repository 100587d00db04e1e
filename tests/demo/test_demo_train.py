"""Training the demo model, in miniature: one layer, two steps."""

from __future__ import annotations

import pytest

from datagen.demo.local import generator
from datagen.models import Message, Request, Sampling

torch = pytest.importorskip("torch", reason="needs the model's libraries")


@pytest.mark.slow
def test_a_trained_folder_can_be_loaded_and_trained_further(tmp_path):
    """train leaves a model that generates and that a second round starts from."""
    from datagen.demo.train import Plan, train

    small = {"steps": 2, "rows": 1, "hidden": 32, "layers": 1, "intermediate": 32}
    with torch.compiler.set_stance("force_eager"):  # to compile takes longer than a hundred such steps
        first = train(Plan(**small), tmp_path / "a", lambda line: None)
        second = train(Plan(**small, seed=1, start=tmp_path / "a"), tmp_path / "b", lambda line: None)
    ask = Request((Message("user", "Ask 5 questions about words."),), Sampling(n=2, max_tokens=4))
    assert first.steps == second.steps == 2
    assert len(generator(tmp_path / "b")([ask])[0]) == 2
