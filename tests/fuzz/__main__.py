"""Runs one target with atheris, whose mutations follow the branches they reach; ends with 77 at a finding."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["gateway.intake", "gateway.message", "gateway.number", "gateway.opening", "gateway.options"]
):
    from tests.fuzz import targets

logging.disable(logging.CRITICAL)  # refusals are logged, and most of this is refused
name, flags = sys.argv[1], sys.argv[2:]
with tempfile.TemporaryDirectory() as folder:
    seeds, words = Path(folder) / "seeds", Path(folder) / "words"
    seeds.mkdir()
    for n, word in enumerate(targets.WORDS[name]):
        (seeds / str(n)).write_bytes(word)
    if name == "address":
        table = Path(__file__).parents[1] / "intake" / "addresses.tsv"
        for n, line in enumerate(table.read_text(encoding="utf-8").splitlines()[3:]):
            (seeds / f"example-{n}").write_text(line.split("\t")[2], encoding="utf-8")
    (seeds / "all").write_bytes(b"".join(targets.WORDS[name]))
    quoted = ["".join(f"\\x{octet:02x}" for octet in word) for word in targets.WORDS[name]]
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    atheris.Setup(
        [sys.argv[0], f"-dict={words}", "-max_len=4096", "-timeout=60", "-rss_limit_mb=0", *flags, str(seeds)],
        targets.TARGETS[name],
    )
    atheris.Fuzz()
