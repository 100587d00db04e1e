"""Which rows are read, and how each kind of table reads."""

import json

import pytest

from datagen.errors import InputError, UsageError
from datagen.models import Message
from datagen.training.rows import Pair, read_source, rehearsals


def written(folder, *rows):
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


ASKED = (Message("user", "add"),)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "messages": [{"role": "user", "content": "add"}, {"role": "assistant", "content": "x"}]},
        {"id": "a", "prompt": "add", "completion": "x"},
        {"id": "a", "prompt": [{"role": "user", "content": "add"}], "completion": [{"role": "", "content": "x"}]},
        {"id": "a", "question": "add", "solution": "x", "tests": ["assert 1"]},
        {"id": "a", "instruction": "add", "output": "x"},
    ],
    ids=["messages", "prompt", "prompt of turns", "question", "instruction"],
)  # fmt: skip
def test_the_usual_columns_of_instruction_data_are_read_alike(tmp_path, row):
    """Five layouts of the same row give the same pair."""
    assert read_source(written(tmp_path, row)).pairs == (Pair("a", ASKED, "x"),)


def test_an_instruction_with_an_input_is_one_turn(tmp_path):
    """Alpaca's input follows its instruction after a blank line."""
    pair = read_source(written(tmp_path, {"instruction": "add", "input": "1 2", "output": "3"})).pairs[0]
    assert pair.messages == (Message("user", "add\n\n1 2"),)


def test_plain_text_has_no_prompt(tmp_path):
    """A column `text` is learnt whole."""
    assert read_source(written(tmp_path, {"id": "a", "text": "x = 1"})).pairs == (Pair("a", (), "x = 1"),)


def test_other_columns_are_an_error_that_names_what_is_needed(tmp_path):
    """A table without any known pair of columns is refused, and the message lists them."""
    with pytest.raises(InputError, match="prompt and completion"):
        read_source(written(tmp_path, {"ask": "add", "say": "x"}))


def test_a_row_without_an_answer_is_dropped_and_counted(tmp_path):
    """An empty completion and a conversation that ends with the user teach nothing."""
    rows = [{"id": "a", "question": "q", "solution": " "}, {"id": "b", "question": "q", "solution": "x"}]
    source = read_source(written(tmp_path, *rows))
    assert [pair.id for pair in source.pairs] == ["b"]
    assert [(drop.reason, drop.detail) for drop in source.dropped] == [("empty", "a")]
    asked = {"id": "c", "messages": [{"role": "user", "content": "add"}]}
    assert read_source(written(tmp_path, asked)).dropped[0].detail == "c"


def test_messages_that_are_no_turns_are_an_error_that_names_the_row(tmp_path):
    """A column `messages` of plain strings cannot be read as a conversation."""
    with pytest.raises(InputError, match="row a"):
        read_source(written(tmp_path, {"id": "a", "messages": ["add"]}))


def test_the_solver_form_asks_as_the_solver_was_asked(tmp_path):
    """The prompt file is rendered with the test that the solver saw, and the answer stands between its tags."""
    row = {"id": "a", "question": "Add.", "solution": "def f(): pass\n", "shown_test": "assert f()", "entry_point": "f"}
    pair = read_source(written(tmp_path, row), "solver", prompts="demo").pairs[0]
    assert pair.messages == (Message("user", "Add.\nassert f()"),)
    assert pair.completion == "[PYTHON]\ndef f(): pass\n[/PYTHON]"


def test_the_solver_form_names_the_columns_that_it_lacks(tmp_path):
    """A table without the shown test cannot be asked as the solver was."""
    with pytest.raises(InputError, match="entry_point, shown_test"):
        read_source(written(tmp_path, {"question": "q", "solution": "x"}), "solver")


def test_the_models_that_wrote_the_rows_are_known(tmp_path):
    """The column `model` names the generators."""
    rows = [{"question": "q", "solution": "x", "model": name} for name in ("m1", "m2", "m1")]
    assert read_source(written(tmp_path, *rows)).generators == ("m1", "m2")


@pytest.mark.parametrize("given", ["stack", "stack=", "stack=2", "=0.1", "stack=x", "stack=0"])
def test_a_rehearsal_is_a_table_and_a_share(given):
    """Anything but TABLE=SHARE with a share between 0 and 1 is refused."""
    with pytest.raises(UsageError):
        rehearsals([given])


def test_rehearsals_leave_room_for_the_data():
    """Shares that sum to 1 would leave none of the data itself."""
    assert [one.share for one in rehearsals(["a=0.06", "b/c=0.02"])] == [0.06, 0.02]
    with pytest.raises(UsageError, match="leaves nothing"):
        rehearsals(["a=0.5", "b=0.5"])


def test_an_id_of_zero_is_an_id(tmp_path):
    """Ids are taken as they are; only a row without one is named by its place."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": {one}, "text": "x"}}\n' for one in (1, 0, "null")))
    assert [pair.id for pair in read_source(str(path)).pairs] == ["1", "0", "2"]
