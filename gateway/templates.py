"""Finds a template: the operator's folder first, then the built-in ones. Text or HTML by the file's name.

In a checkout the built-in templates are in `templates/` beside the package, in an installed wheel in
`gateway/_templates`. An operator overrides single files. Undefined names are errors, not blanks.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import jinja2

_HERE = Path(__file__).resolve().parent
_PACKAGED, _CHECKOUT = _HERE / "_templates", _HERE.parent / "templates"


def built_in() -> Path:
    """The folder of the built-in templates."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


class Templates:
    """Jinja2 over the operator's folder and the built-in one."""

    def __init__(self, operators: Path | None = None) -> None:
        folders = [folder for folder in (operators, built_in()) if folder is not None]
        self.folders = folders
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=jinja2.select_autoescape(enabled_extensions=("html",), default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )

    def render(self, name: str, **values: object) -> str:
        """The template `name` (e.g. "mail/delivered-subject.txt") filled in."""
        return self._jinja.get_template(name).render(**values)

    def names(self, below: str) -> list[str]:
        """Every template whose name starts with `below`."""
        return [name for name in self._jinja.list_templates() if name.startswith(below)]

    def own(self) -> list[str]:
        """The operator's files that take the place of built-in ones."""
        return [
            str(path.relative_to(folder))
            for folder in self.folders[:-1]
            for path in sorted(folder.rglob("*"))
            if (built_in() / path.relative_to(folder)).is_file()
        ]

    def place(self, error: BaseException) -> str:
        """Where in a template an error arose, as it begins a message: "mail/a.txt, line 3: "; "" when in none."""
        if isinstance(error, jinja2.TemplateSyntaxError):
            return f"{error.name}, line {error.lineno}: "
        frames = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
        for folder in self.folders:  # the operator's first: what is passed on wrongly there fails in a piece of ours
            for path, line in reversed(frames):
                if path.is_relative_to(folder):
                    return f"{path.relative_to(folder)}, line {line}: "
        return ""

    def problem(self) -> str:
        """What is wrong with a template, so that it is not found out by a report that cannot be written; "" = nothing."""
        for name in self._jinja.list_templates(extensions=["txt", "html", "css"]):
            try:
                self._jinja.get_template(name)
            except jinja2.TemplateSyntaxError as error:
                return f"{name}, line {error.lineno}: {error.message}"
            except UnicodeDecodeError:
                return f"{name}: is not UTF-8 text"
        return ""
