"""Prompt files: what is checked before the first request, and that errors say what to correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datagen.errors import PromptError
from datagen.models import Message
from datagen.prompts import Prompt, load_prompt, prompt_folders
from datagen.resources import resource
from datagen.stages.questions import VARIABLES
from datagen.stages.solve import SOLUTIONS_VARIABLES, TESTS_VARIABLES

GOOD = """+++
purpose = "asks"
variables = ["topic", "count"]
source = "here"

[sampling]
temperature = 0.5
stop = ["x", "y"]
+++

## system
Be brief.

## user
Ask {{ count }} about {{ topic }}.
"""


def write(folder: Path, text: str, name: str = "ask") -> Path:
    path = folder / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, offered=("topic", "count")) -> Prompt:
    write(folder, text)
    return load_prompt("ask", [folder], offered)


def complaint(folder: Path, text: str, offered=("topic", "count")) -> str:
    """The message of the PromptError that loading this text raises."""
    with pytest.raises(PromptError) as caught:
        load(folder, text, offered)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_prompt_is_read(tmp_path: Path):
    """Front matter and turns come out as they stand in the file; a list of stops becomes a tuple."""
    prompt = load(tmp_path, GOOD)
    assert (prompt.name, prompt.purpose, prompt.source) == ("ask", "asks", "here")
    assert prompt.variables == ("topic", "count")
    assert dict(prompt.sampling) == {"temperature": 0.5, "stop": ("x", "y")}
    assert [role for role, _ in prompt.turns] == ["system", "user"]


def test_rendering_fills_every_variable(tmp_path: Path):
    """Rendering gives one message for each turn; values that the prompt does not use are ignored."""
    messages = load(tmp_path, GOOD).render(topic="lists", count=3, other="unused")
    assert messages == (Message("system", "Be brief."), Message("user", "Ask 3 about lists."))


def test_values_are_not_templates(tmp_path: Path):
    """Braces in a value (a question may hold them) stay as they are."""
    messages = load(tmp_path, GOOD).render(topic="{{ count }} {% if %}", count=3)
    assert messages[1].content == "Ask 3 about {{ count }} {% if %}."


def test_conditions_work(tmp_path: Path):
    """A prompt may use Jinja's conditions, and an empty value counts as false."""
    text = (
        '+++\nvariables = ["topic"]\n+++\n## user\n{% if topic %}About {{ topic }}{% else %}About anything{% endif %}'
    )
    prompt = load(tmp_path, text)
    assert [prompt.render(topic=topic)[0].content for topic in ("", "sets")] == ["About anything", "About sets"]


def test_turns_of_a_dialogue(tmp_path: Path):
    """One-shot prompts are dialogues: the turns keep their order and roles."""
    prompt = load(tmp_path, "+++\n+++\n## user\na\n## assistant\nb\n## user\nc")
    assert [(message.role, message.content) for message in prompt.render()] == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]


def test_other_headings_belong_to_the_text(tmp_path: Path):
    """Only the three roles start a turn; other headings and lines of plus signs are text."""
    prompt = load(tmp_path, "+++\n+++\n## user\n## Rules\n### user\n+++\n## users")
    assert prompt.render()[0].content == "## Rules\n### user\n+++\n## users"


def test_windows_line_ends(tmp_path: Path):
    """A file saved with CR LF reads the same."""
    (tmp_path / "ask.md").write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert load_prompt("ask", [tmp_path], ("topic", "count")).turns == load(tmp_path, GOOD).turns


def test_digest_names_the_content(tmp_path: Path):
    """Any change of the file, sampling included, changes the digest; the same file has the same digest."""
    first = load(tmp_path, GOOD).digest
    assert load(tmp_path, GOOD).digest == first
    assert load(tmp_path, GOOD.replace("0.5", "0.6")).digest != first
    assert load(tmp_path, GOOD.replace("brief", "short")).digest != first


def test_folders_override_file_by_file(tmp_path: Path):
    """The first folder that has the file wins; what it lacks comes from the next."""
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    mine.mkdir()
    shipped.mkdir()
    for folder, name in ((mine, "one"), (shipped, "one"), (shipped, "two")):
        write(folder, f"+++\n+++\n## user\n{folder.name}", name)
    rendered = [load_prompt(name, [mine, shipped]).render()[0].content for name in ("one", "two")]
    assert rendered == ["mine", "shipped"]


def test_missing_file_names_the_folders(tmp_path: Path):
    """A missing prompt says where it was looked for and what to do."""
    with pytest.raises(PromptError) as caught:
        load_prompt("nope", [tmp_path / "a", tmp_path / "b"])
    message = str(caught.value)
    assert all(part in message for part in ("nope.md", str(tmp_path / "a"), str(tmp_path / "b"), "--prompts"))


def test_unknown_variables_are_all_named(tmp_path: Path):
    """Every variable that the stage does not offer is named at once, with those it offers."""
    text = GOOD.replace('["topic", "count"]', '["topic", "count", "colour", "size"]')
    message = complaint(tmp_path, text + "{{ colour }} {{ size }}")
    assert "unknown variables colour, size" in message
    assert "topic, count" in message


def test_declared_but_unknown_variable(tmp_path: Path):
    """A declared variable that the stage does not offer is an error even where the text does not use it."""
    assert "unknown variable colour" in complaint(tmp_path, GOOD.replace('"count"]', '"count", "colour"]'))


def test_undeclared_variables_are_all_named(tmp_path: Path):
    """A variable that the text uses must be declared; all that are not are named at once."""
    assert "uses count, topic without declaring it" in complaint(tmp_path, GOOD.replace('["topic", "count"]', "[]"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no TOML front matter"),
        ("## user\nhello", "no TOML front matter"),
        ("+++\npurpose = 3", "no TOML front matter"),
        ("hello\n+++\n+++\n## user\nx", "no TOML front matter"),
        ("+++\npurpose = \n+++\n## user\nx", "front matter is not TOML"),
        ("+++\n+++\n", "needs `## user` before its text"),
        ("+++\n+++\nhello\n## user\nx", "needs `## user` before its text"),
        ('+++\npurposes = "x"\n+++\n## user\nx', "unknown key purposes"),
        ("+++\n[sampling]\ntemprature = 1\nn = 2\n+++\n## user\nx", "unknown key sampling.n, sampling.temprature"),
        ("+++\n+++\n## user\n{{ topic", "template error"),
        ("+++\n+++\n## user\n{% if x %}", "template error"),
    ],
)
def test_malformed_file(tmp_path: Path, text: str, said: str):
    """A malformed prompt is refused when it is loaded, in one line with its path."""
    assert said in complaint(tmp_path, text)


def test_file_that_is_not_text(tmp_path: Path):
    """A file that is not UTF-8 is refused with its path."""
    (tmp_path / "ask.md").write_bytes(b"+++\n+++\n## user\n\xff\xfe")
    with pytest.raises(PromptError, match="cannot be read"):
        load_prompt("ask", [tmp_path])


def test_shipped_folder_is_the_default():
    """Without an override the prompts that ship are used."""
    assert prompt_folders() == prompt_folders("")
    assert (prompt_folders()[0] / "questions.md").is_file()


def test_override_comes_first(tmp_path: Path):
    """An override is looked at before the shipped prompts."""
    (tmp_path / "questions.md").touch()
    assert prompt_folders(str(tmp_path)) == (tmp_path, *prompt_folders())


def test_missing_override(tmp_path: Path):
    """An override that is no folder, or has no prompt in it, is refused by name."""
    (tmp_path / "empty-folder").mkdir()
    for name in ("no-such-folder", "empty-folder"):
        with pytest.raises(PromptError, match=name):
            prompt_folders(str(tmp_path / name))


def test_a_run_does_not_stand_in_for_a_set_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`datagen run demo --run demo` asks the demo's prompts, though there is a folder of that name then."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "dataset").mkdir(parents=True)
    (tmp_path / "demo" / "dataset" / "README.md").touch()
    assert prompt_folders("demo") == (resource("prompts") / "demo", *prompt_folders())


SHIPPED = sorted(resource("prompts").rglob("*.md"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_prompt_is_complete(path: Path):
    """Each shipped prompt says its purpose and source, and declares just what it uses; a stage's says how to sample.

    How answers of an evaluation are sampled is its protocol's to say.
    """
    declared = re.search(r"^variables = \[(.*)\]", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert declared is not None
    names = re.findall(r'"(\w+)"', declared[1])
    prompt = load_prompt(path.stem, [path.parent], names)
    assert prompt.purpose
    assert prompt.source
    assert path.parent.name == "eval" or {"temperature", "max_tokens"} <= set(prompt.sampling)
    text = "".join(text for _, text in prompt.turns)
    assert [name for name in names if name not in text] == []


def test_questions_prompts_use_only_what_the_stage_offers():
    """Every questions prompt that ships, the demo's too, loads with the variables of the stage."""
    folders = [path.parent for path in SHIPPED if path.stem == "questions"]
    assert all(load_prompt("questions", [folder], VARIABLES).turns for folder in folders)


def test_the_page_names_every_variable():
    """docs/prompts.md lists what each prompt may use."""
    rows = (Path(__file__).parents[1] / "docs" / "prompts.md").read_text(encoding="utf-8").splitlines()
    for name, offered in (("questions", VARIABLES), ("tests", TESTS_VARIABLES), ("solutions", SOLUTIONS_VARIABLES)):
        (row,) = (row for row in rows if row.startswith(f"| `{name}` |"))
        assert [variable for variable in offered if f"`{variable}`" not in row] == []


@pytest.mark.parametrize(
    ("front", "says"),
    [
        ("sampling = 3", "sampling = 3 is not of type dict"),
        ('variables = "topic"', "variables = 'topic' is not of type list"),
        ('[sampling]\ntemperature = "hot"', "sampling.temperature = 'hot' is not of type int or float"),
        ("[sampling]\nmax_tokens = 10.5", "sampling.max_tokens = 10.5 is not of type int"),
        ("[sampling]\nstop = [1]", "lists of strings"),
    ],
)
def test_value_of_another_type_is_named(tmp_path, front, says):
    """A front matter value of the wrong type is one PromptError that names key, value and wanted type."""
    (tmp_path / "odd.md").write_text(f"+++\n{front}\n+++\n## user\nhello\n")
    with pytest.raises(PromptError, match=re.escape(says)):
        load_prompt("odd", [tmp_path], ("topic",))


@pytest.mark.parametrize("line", ["temperature = -3", "temperature = nan", "temperature = inf", "top_p = 1.5",
                                  "max_tokens = 0", "max_tokens = -5"])  # fmt: skip
def test_sampling_out_of_range_is_named(tmp_path, line):
    """A sampling value that no engine takes is refused as the prompt is read, with its key and value."""
    says = complaint(tmp_path, f"+++\n[sampling]\n{line}\n+++\n## user\nhello\n")
    assert f"sampling.{line} is out of range. Use" in says


def test_empty_user_turn_is_refused(tmp_path):
    """A prompt whose `## user` asks nothing is refused before the first request."""
    assert "empty `## user`" in complaint(tmp_path, "+++\n+++\n## system\nBe brief.\n## user\n")


@pytest.mark.parametrize("body", ["{{ topic.foo.bar }}", "{{ topic / 2 }}", "{% include 'other' %}"])
def test_template_that_cannot_work_fails_at_loading(tmp_path, body):
    """A template that parses but cannot be rendered is refused before the first request."""
    (tmp_path / "odd.md").write_text(f'+++\nvariables = ["topic"]\n+++\n## user\n{body}\n')
    with pytest.raises(PromptError, match="cannot be rendered"):
        load_prompt("odd", [tmp_path], ("topic",))


def test_byte_order_mark_is_no_content(tmp_path):
    """A file that an editor began with a byte-order mark loads like any other."""
    (tmp_path / "bom.md").write_text("\ufeff+++\n+++\n## user\nhello\n", encoding="utf-8")
    assert load_prompt("bom", [tmp_path]).render()[0].content == "hello"
