"""A bounded run of each fuzz target: the same inputs each time, so that a green run stays green."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import targets

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine")
@pytest.mark.parametrize(("target", "runs"), [("address", 20_000), ("dialogue", 1_500), ("mail", 8_000)])
def test_a_bounded_run_finds_nothing(target: str, runs: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, f"-runs={runs}", "-seed=1", f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stderr[-3000:].decode("utf-8", "replace")
    assert done.returncode == 0, said
    assert f"Done {runs} runs" in said


@pytest.mark.parametrize("target", list(targets.TARGETS))
def test_the_words_of_each_language_are_taken_by_its_target(target: str) -> None:
    """Also where there is no atheris: the seeds, alone and together."""
    for word in (*targets.WORDS[target], b"".join(targets.WORDS[target]), b""):
        targets.TARGETS[target](word)
