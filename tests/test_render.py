"""`faxgate render`, the real program."""

from __future__ import annotations

import json
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

from PIL import Image

GATEWAY = """\
domain = "fax.example.com"
region = "US"
spool = "spool"
[mail]
from = "fax@fax.example.com"
operator = "operator@example.com"
[pages]
max_pages = 5
"""


def render(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "gateway.toml").write_text(GATEWAY)
    command = [sys.executable, "-m", "gateway", "render", *words, "-c", folder / "gateway.toml"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_mail_is_rendered_as_the_far_end_will_print_it(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Bob <bob@sender.example>", "+14155552671@fax.example.com", "Order"
    mail.set_content("Forty-two crates of oranges leave Valencia on Thursday morning.\n" * 20)
    (tmp_path / "order.eml").write_bytes(bytes(mail))
    done = render(tmp_path / "order.eml", "--out", tmp_path / "out", "--resolution", "fine", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert [(page["lines"], page["lines_per_inch"]) for page in said["pages"]] == [(2151, 196)]
    assert 1 < said["total"]["mmr_seconds"] < said["total"]["mh_seconds"] < 60
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["page-001.png", "printed.pdf", "printed.tif"]
    with Image.open(tmp_path / "out" / "page-001.png") as page:
        assert (page.mode, page.size) == ("1", (1728, 2151))
        assert 10_000 < page.histogram()[0] < 400_000


def test_what_cannot_become_pages_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing behind it")
    done = render(tmp_path / "broken.pdf", "--out", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 1
    assert "broken.pdf" in done.stderr
    assert "Traceback" not in done.stderr
