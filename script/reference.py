# SPDX-License-Identifier: MIT
"""Write the table of all control files, as Markdown, to the file that is named."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycgroup import controllers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycgroup.base import Controller
    from pycgroup.settings import Declaration

_HEAD = """\
# Reference

Every control file that pycgroup knows, from `pycgroup/controllers.py`; `script/reference` writes this page.
A dash means that this version has no such file: there the property raises `UnsupportedSettingError`.
"""


def page() -> str:
    """Return the whole page."""
    core = controllers.Core.settings()
    sections = [_section(cls, [row for row in cls.settings() if row not in core]) for cls in controllers.ALL]
    return "\n".join([_HEAD, *_section(controllers.Core, list(core)), *(line for lines in sections for line in lines)])


def _section(cls: type[Controller], settings: list[Declaration[Any, Any]]) -> Iterator[str]:
    title = "Every class" if cls is controllers.Core else f"Cgroup.{cls.__name__}"
    yield f"## {title}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n"
    if settings:
        yield "| property | v1 | v2 | value | |\n|---|---|---|---|---|"
        yield from (_row(setting) for setting in settings)
        yield ""


def _row(setting: Declaration[Any, Any]) -> str:
    names = " ".join(f"`{name}`" for name in (setting.name, *setting.aliases))
    files = [f"`{file.name}`" if file else "-" for file in setting.columns]
    needs = f"Needs {setting.needs}." if setting.needs else ""
    said = " ".join(part for part in (setting.doc, needs, setting.use) if part)
    return f"| {names} | {files[0]} | {files[1]} | {setting.takes} | {said} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
