"""Claims about comparing finished evaluations."""

from __future__ import annotations

import pytest
from eval_kit import SOLUTIONS, answer, score

from datagen.errors import InputError
from datagen.evaluation.compare import Finished, comparison, paired
from datagen.models import Completion, Sample


def finished(name, passes, n=1):
    return Finished(name, {}, {f"p{index}": (n, passed) for index, passed in enumerate(passes)})


def test_wins_and_losses_are_counted_by_problem():
    """Wins + losses + ties is the number of problems; the difference is that of the means."""
    found = paired(finished("a", [1, 0, 0, 1, 1]), finished("b", [1, 1, 1, 0, 1]))
    assert (found.wins, found.losses, found.ties) == (2, 1, 2)
    assert found.difference.value == pytest.approx(0.2)


def test_equal_evaluations_are_equal():
    """Against itself: no difference, an interval of nothing, ahead in half."""
    one = finished("a", [1, 0, 1])
    found = paired(one, one)
    assert (found.difference.low, found.difference.high, found.ahead) == (0.0, 0.0, 0.5)


def test_pairing_sees_what_two_scores_do_not():
    """200 problems of which one side solves the same and ten more: the paired interval excludes zero."""
    base, better = [1] * 80 + [0] * 120, [1] * 90 + [0] * 110
    found = paired(finished("a", base), finished("b", better))
    assert found.difference.low > 0 and found.ahead > 0.99


def test_swapping_swaps_the_sign():
    """B against A is the mirror of A against B."""
    a, b = finished("a", [1, 0, 0, 2], 2), finished("b", [0, 1, 1, 2], 2)
    there, back = paired(a, b), paired(b, a)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert there.ahead == pytest.approx(1 - back.ahead)


def test_nothing_in_common_is_an_error():
    """Evaluations without a common problem cannot be compared."""
    with pytest.raises(InputError, match="share no problem"):
        paired(finished("a", [1]), Finished("b", {}, {"other": (1, 1)}))


def test_the_scoreboard_is_like_the_articles(tmp_path):
    """Every problem has a line, every model its count of eight, and published lines are marked as such."""

    def worse(request):
        name = next(entry for entry in SOLUTIONS if f"called {entry}." in request.messages[-1].content)
        right = list(SOLUTIONS).index(name) < 5
        code = SOLUTIONS[name] if right else f"def {name}(*args):\n    return 0\n"
        return Completion((Sample(f"```python\n{code}```"),) * request.sampling.n)

    score(tmp_path / "first", answer)
    score(tmp_path / "second", worse)
    shown = comparison([tmp_path / "first", tmp_path / "second"])
    lines = [line.split() for line in shown.splitlines()]
    assert next(line for line in lines if line[0] == "interview/warmer-days")[2] == "0/4"
    assert ["second", "5/8"] in [line[:2] for line in lines]
    assert ["ChatGPT", "8/8"] in [line[:2] for line in lines] and "(published in 2023" in shown
    assert "second against first:" in shown


def test_what_is_no_evaluation_says_what_to_run(tmp_path):
    """A folder without a report names the command that makes one."""
    with pytest.raises(InputError, match="datagen eval --model MODEL"):
        comparison([tmp_path, tmp_path])
