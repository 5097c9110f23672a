"""What the guard makes of its ratios, and of histories with and without a parent commit."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from benchmarks import guard
from benchmarks.guard import Verdict, judge

NOISE = [0.8, 0.9, 0.95, 0.97, 1.0, 1.0, 1.03, 1.05, 1.1, 1.4, 2.0]


def test_noise_around_one_is_no_slide() -> None:
    assert not judge(NOISE).is_suspect


def test_the_same_noise_around_a_slide_is_one() -> None:
    verdict = judge([1.3 * ratio for ratio in NOISE])

    assert verdict.is_suspect
    assert verdict.is_slower


def test_a_busy_quarter_is_no_slide() -> None:
    assert not judge([1.0] * 8 + [3.0] * 3).is_suspect


def test_half_of_the_pairs_arouse_suspicion_but_do_not_suffice() -> None:
    verdict = judge([1.0] * 5 + [1.5] * 6)

    assert verdict.is_suspect
    assert not verdict.is_slower


def test_a_verdict_has_the_median_and_the_quartiles() -> None:
    assert judge([1.0, 2.0, 3.0, 4.0, 5.0]) == Verdict(median=3.0, lower=2.0, upper=4.0)


def test_a_row_shows_both_costs_and_their_ratio() -> None:
    pairs = [(100e-6, 130e-6), (110e-6, 143e-6), (90e-6, 117e-6)]

    assert guard.line("submit", pairs).split() == [
        *("submit", "100", "130"),
        *("1.30", "(1.30", "…", "1.30)", "of", "3"),
    ]


# --- the parent commit --------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "ollama_queue.py", "first")
    monkeypatch.setattr(guard, "ROOT", folder)
    monkeypatch.setattr("sys.argv", ["guard"])
    monkeypatch.chdir(tmp_path)
    return folder


def commit(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", name)


def test_the_first_commit_has_nothing_to_compare_with(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard.main()

    assert capsys.readouterr().out == "Nothing to compare with: the history here has no HEAD^.\n"


def test_what_is_no_repository_has_nothing_to_compare_with(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / ".git").rename(checkout / "git")

    guard.main()

    assert "Nothing to compare with" in capsys.readouterr().out


def test_another_project_around_an_unpacked_archive_is_no_parent(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "vendored").mkdir()
    monkeypatch.setattr(guard, "ROOT", checkout / "vendored")

    assert not guard.has("HEAD")


def test_a_commit_of_documents_is_not_measured(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(checkout, "README.md", "new")

    guard.main()

    assert "is the same as in HEAD^" in capsys.readouterr().out


def test_a_change_that_is_not_committed_yet_counts(checkout: Path) -> None:
    assert guard.is_unchanged_since("HEAD")
    (checkout / "ollama_queue.py").write_text("second")

    assert not guard.is_unchanged_since("HEAD")


def test_the_parent_is_checked_out_beside_the_checkout_and_removed(checkout: Path) -> None:
    commit(checkout, "ollama_queue.py", "second")

    with guard.checked_out("HEAD^") as parent:
        assert (parent / "ollama_queue.py").read_text() == "first"
        assert (checkout / "ollama_queue.py").read_text() == "second"
    assert not parent.exists()


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "status"), [(1.0, 0), (1.3, 1)], ids=["a false alarm", "a slide"]
)
def test_a_suspect_is_measured_again_and_decides(
    second: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def measure(_: Path, names: Iterable[str], *__: object) -> dict[str, guard.Pairs]:
        asked.append(list(names))
        slow = {"submit": 1.3 if len(asked) == 1 else second}
        return {name: [(1.0, slow.get(name, 1.0))] * 4 for name in names}

    monkeypatch.setattr(guard, "measure", measure)

    assert guard.compare(Path(), "HEAD^") == status
    assert asked == [list(guard.ROWS), ["submit"]]


def test_without_a_suspect_nothing_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: [(1.0, 1.05)] * 4 for name in guard.ROWS}
    monkeypatch.setattr(guard, "measure", lambda *_: rows)

    assert guard.compare(Path(), "HEAD^") == 0


def test_every_row_is_part_of_a_round_after_what_it_needs() -> None:
    assert set(guard.ORDER) == set(guard.ROWS)
    for name, needed in guard.NEEDS.items():
        at = guard.ORDER.index(name)
        assert guard.ORDER[at - 1] == needed


@pytest.mark.parametrize("missing", [RuntimeError("refused"), OSError("closed"), KeyError("field")])
def test_what_the_older_commit_cannot_do_is_not_compared(
    missing: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = object(), object()

    def costs(subjects: Sequence[object]) -> list[float]:
        if before in subjects:
            raise missing
        return [1.0]

    monkeypatch.setattr(guard, "ROWS", {"submit": costs})

    assert not guard.is_comparable("submit", [before, now])


def test_what_the_checkout_cannot_do_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = object(), object()

    def costs(subjects: Sequence[object]) -> list[float]:
        if now in subjects:
            raise RuntimeError("refused")
        return [1.0]

    monkeypatch.setattr(guard, "ROWS", {"submit": costs})

    with pytest.raises(RuntimeError, match="refused"):
        guard.is_comparable("submit", [before, now])
