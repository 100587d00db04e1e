"""Claims about settings, recipes and the flags made from them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from datagen.config import DecontaminateConfig, DedupConfig, EngineConfig, QuestionsConfig, SolveConfig, build, shaping
from datagen.errors import UsageError
from datagen.flags import Formatter, Parser, add_flags, collect
from datagen.recipe import SHIPPED, TABLES, load_recipe, recipe_path, shipped


def parse(arguments: list[str], table: str, cls: type) -> dict[str, dict[str, object]]:
    parser = Parser(prog="datagen test", formatter_class=Formatter)
    add_flags(parser, table, cls)
    return collect(parser.parse_args(arguments))


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_value_comes_from_default_then_recipe_then_flag(tmp_path):
    """A flag beats the recipe, the recipe beats the default, and nothing else sets a value."""
    path = recipe(tmp_path, "[solve]\nn = 4\nmin_tests = 2\n")
    built = load_recipe(path, {"solve": {"n": 7}})
    assert (built.solve.n, built.solve.min_tests, built.solve.test_files) == (7, 2, 3)


@pytest.mark.parametrize(("table", "flags", "count", "target"), [
    ("count = 62000", {"target": 20}, 0, 20),
    ("target = 300", {"count": 20}, 20, 0),
    ("count = 62000", {"per_prompt": 5}, 62000, 0),
    ("target = 300", {"count": 0}, 0, 300),
    ("target = 300", {"target": 20, "count": 0}, 0, 20),
])  # fmt: skip
def test_count_and_target_as_flags_lift_each_other(tmp_path, table, flags, count, target):
    """A --target holds where the recipe names a count, a --count where it names a target; 0 lifts nothing."""
    questions = load_recipe(recipe(tmp_path, f"[questions]\n{table}\n"), {"questions": flags}).questions
    assert (questions.count, questions.target) == (count, target)


def test_count_and_target_together_are_refused():
    """Two flags that exclude each other are one line which says what either is for."""
    with pytest.raises(UsageError, match=r"exclude each other.*--count for raw.*--target for unique"):
        load_recipe(None, {"questions": {"count": 10, "target": 20}})


def test_unknown_key_suggests_the_closest(tmp_path):
    """A misspelt key is refused with the key that was probably meant."""
    with pytest.raises(UsageError, match="Did you mean temperature"):
        load_recipe(recipe(tmp_path, "[solve]\ntemprature = 0.5\n"), {})


def test_unknown_table_is_refused(tmp_path):
    """A table that no stage has is refused by name."""
    with pytest.raises(UsageError, match=r"sovle.*Did you mean solve"):
        load_recipe(recipe(tmp_path, "[sovle]\nn = 5\n"), {})


def test_wrong_type_names_the_key(tmp_path):
    """A value of another type is refused, naming key, value and wanted type."""
    with pytest.raises(UsageError, match=r"n = .ten. is not of type int"):
        load_recipe(recipe(tmp_path, "[solve]\nn = 'ten'\n"), {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("engine = 'vllm'", r"engine = 'vllm' is no table. Write \[engine\]"),
        ("engine = 3", "engine = 3 is no table"),
        ("run = 3", "run = 3 is no table"),
        ("solve = 'x'", "solve = 'x' is no table"),
        ("[[solve]]\nn = 3", r"solve = .* is no table. Write \[solve\]"),
        ("[engine]\ntests = 'model'", r"engine.tests = 'model' is no table. Write \[engine.tests\]"),
    ],
)
def test_what_should_be_a_table_says_how_to_write_one(tmp_path, text, says):
    """A table's name with a value, or in double brackets, is refused with the line to write instead."""
    with pytest.raises(UsageError, match=says):
        load_recipe(recipe(tmp_path, text), {})


@pytest.mark.parametrize(
    ("text", "key"),
    [("[decontaminate]\nagainst = [3]", "against"), ("[questions]\ndifficulties = ['easy', 2]", "difficulties")],
)
def test_list_elements_are_checked(tmp_path, text, key):
    """A number in a list of names is refused as the recipe is read, before a model is asked."""
    with pytest.raises(UsageError, match=f"{key} = .* is no list of texts"):
        load_recipe(recipe(tmp_path, text), {})


def test_byte_order_mark_is_no_part_of_a_recipe(tmp_path):
    """A recipe saved with a byte order mark, as some Windows editors do, reads the same."""
    path = recipe(tmp_path, "\ufeff[solve]\nn = 4\n")
    assert load_recipe(path, {}).solve.n == 4


def test_true_is_no_number(tmp_path):
    """A boolean does not pass for an integer."""
    with pytest.raises(UsageError, match="n = True is not of type int"):
        load_recipe(recipe(tmp_path, "[solve]\nn = true\n"), {})


@pytest.mark.parametrize(("key", "value"), [("n", 0), ("consensus", 1.5), ("tests", "magic")])
def test_out_of_bounds_is_refused(key, value):
    """A value out of its documented range is a UsageError that names the key, from a recipe as from a flag."""
    with pytest.raises(UsageError, match=key):
        build(SolveConfig, {}, {key: value})


@pytest.mark.parametrize(("cls", "key"), [(DedupConfig, "shingle"), (DecontaminateConfig, "minimum")])
def test_number_too_large_for_compiled_code_is_refused(cls, key):
    """A number that the compiled code could not hold is a UsageError that says the most."""
    with pytest.raises(UsageError, match=f"{key} = .* Use 2,147,483,647 or less"):
        build(cls, {}, {key: 10**22})


def test_step_engine_overrides_the_common_one(tmp_path):
    """[engine.tests] changes the model of the tests only; --model replaces all, --tests-model one."""
    path = recipe(tmp_path, "[engine]\nmodel = 'a'\n[engine.tests]\nmodel = 'b'\n")
    models = {step: config.model for step, config in load_recipe(path, {}).engines.items()}
    assert models == {"questions": "a", "tests": "b", "solutions": "a", "judge": "a"}
    flags = {"engine": {"model": "c"}, "engine.solutions": {"model": "d"}}
    models = {step: config.model for step, config in load_recipe(path, flags).engines.items()}
    assert models == {"questions": "c", "tests": "c", "solutions": "d", "judge": "c"}


def test_resolved_recipe_reads_back_as_itself(tmp_path):
    """What is written into a run's folder re-runs as it stands: the resolved recipe resolves to itself."""
    first = load_recipe(SHIPPED / "demo.toml", {"solve": {"n": 3, "temperature": 0.5}})
    second = load_recipe(recipe(tmp_path, first.to_toml()), {}, name=first.name)
    assert second == first


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_resolve_and_say_their_command(name):
    """Every shipped recipe is valid, and its first line is the command that runs it."""
    assert load_recipe(recipe_path(name), {}).name == name
    assert recipe_path(name).read_text().splitlines()[0] == f"# datagen run {name}"


def test_unknown_recipe_lists_the_known():
    """A recipe that does not exist is answered with those that do."""
    with pytest.raises(UsageError, match="demo"):
        recipe_path("dmeo")


@pytest.mark.parametrize(("table", "cls"), TABLES.items())
def test_every_setting_has_help_and_a_known_type(table, cls):
    """Every setting explains itself, and each flag made from it stores under its own table and key."""
    for spec in fields(cls):
        assert spec.metadata["help"]
    parser = Parser(formatter_class=Formatter)
    add_flags(parser, table, cls)
    assert all(action.dest.startswith(f"{table}.") for action in parser._actions if action.dest != "help")


def test_flags_not_given_are_not_collected():
    """A flag's default never overrides a recipe: only what was typed is collected."""
    assert parse(["--n", "5"], "solve", SolveConfig) == {"solve": {"n": 5}}


def test_flag_of_wrong_type_is_a_usage_error():
    """A flag that is no number ends in one line that names it and the help."""
    with pytest.raises(UsageError, match=r"--n.*See datagen test --help"):
        parse(["--n", "many"], "solve", SolveConfig)


def test_shaping_leaves_out_what_changes_no_item():
    """The settings digest holds the model and the temperature, but neither targets nor concurrency."""
    assert "model" in shaping(EngineConfig()) and "concurrency" not in shaping(EngineConfig())
    assert "temperature" in shaping(QuestionsConfig()) and "target" not in shaping(QuestionsConfig())
