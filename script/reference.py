# SPDX-License-Identifier: MIT
"""Write the table of all control files and subscriptions, as Markdown, to the file that is named."""

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
    from pycgroup.sources import EventSource

_HEAD = """\
# Reference

Every control file that pycgroup knows, and what a group can be watched for, from `pycgroup/controllers.py`;
`script/reference` writes this page. A dash means that this version has no such file or events: there the attribute
raises `UnsupportedSettingError`.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(line for cls in (controllers.Core, *controllers.ALL) for line in _section(cls))])


def _section(cls: type[Controller]) -> Iterator[str]:
    title = "Every class" if cls is controllers.Core else f"Cgroup.{cls.__name__}"
    yield f"## {title}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n"
    everywhere = () if cls is controllers.Core else controllers.Core.settings()
    if settings := [setting for setting in cls.settings() if setting not in everywhere]:
        yield "| property | v1 | v2 | value | |\n|---|---|---|---|---|"
        yield from map(_row, settings)
        yield ""
    everywhere = () if cls is controllers.Core else controllers.Core.event_sources()
    if sources := [source for source in cls.event_sources() if source not in everywhere]:
        yield "| subscription | v1 | v2 | |\n|---|---|---|---|"
        yield from map(_events, sources)
        yield ""


def _row(setting: Declaration[Any, Any]) -> str:
    names = " ".join(f"`{name}`" for name in (setting.name, *setting.aliases))
    files = [f"`{file.name}`" if file else "-" for file in setting.columns]
    needs = f"Needs {setting.needs}." if setting.needs else ""
    said = " ".join(part for part in (setting.doc, needs, setting.use) if part)
    return f"| {names} | {files[0]} | {files[1]} | {setting.takes} | {said} |"


def _events(source: EventSource[Any, Any]) -> str:
    signature = inspect.signature(next(filter(None, source.columns)))
    _, *parameters = (each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values())
    call = f"{source.name}{inspect.Signature(parameters)}"
    offered = ["yes" if column else "-" for column in source.columns]
    nearest = f"The nearest where there is none: {source.nearest}." if source.nearest else ""
    return f"| `{call}` | {offered[0]} | {offered[1]} | {source.doc} {nearest}".rstrip() + " |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
