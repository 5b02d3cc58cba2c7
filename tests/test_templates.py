"""Templates: the operator's file wins, HTML is escaped, and what is undefined is an error."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from gateway.templates import Templates, built_in


def written(folder: Path, name: str, text: str | bytes) -> Templates:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Templates(folder)


def test_the_operators_file_is_found_first_and_the_others_stay(tmp_path: Path) -> None:
    name = "mail/failed-subject.txt"
    assert (built_in() / name).is_file()
    templates = written(tmp_path, name, "Ours: {{ x }}\n")
    assert templates.render(name, x="1") == "Ours: 1"
    assert "mail/outgoing.txt" in templates.names("mail/")


def test_html_is_escaped_and_text_is_not(tmp_path: Path) -> None:
    for name, shown in (("a.html", "&lt;b&gt;"), ("a.txt", "<b>")):
        assert written(tmp_path, name, "{{ x }}").render(name, x="<b>") == shown


def test_what_is_undefined_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError):
        written(tmp_path, "a.txt", "{{ nothing }}").render("a.txt")


def test_what_a_value_says_is_not_a_template(tmp_path: Path) -> None:
    assert written(tmp_path, "a.txt", "{{ x }}").render("a.txt", x="{{ 7 * 7 }}") == "{{ 7 * 7 }}"


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "mail/../../secret.txt"])
def test_no_name_leads_out_of_the_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "templates").mkdir()
    with pytest.raises(jinja2.TemplateNotFound):
        Templates(tmp_path / "templates").render(name)


@pytest.mark.parametrize(
    ("text", "said"), [("{{ x", "a.txt, line 1"), ("\n{% if %}", "a.txt, line 2"), (b"\xff", "a.txt: is not UTF-8")]
)
def test_a_broken_template_is_named_at_the_start(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert written(tmp_path, "a.txt", text).problem().startswith(said)


def test_the_built_in_templates_are_in_order() -> None:
    assert Templates().problem() == ""
