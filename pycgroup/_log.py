# SPDX-License-Identifier: MIT
"""What libcgroup logs, for `logging.getLogger("pycgroup.libcgroup")`. Its levels: 1 is error, 4 debug."""

from __future__ import annotations

import sys

from ._types import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable


def threshold() -> int:
    """Return libcgroup's least severe level that somebody would see; 0 if nobody has as much as imported logging."""
    if "logging" not in sys.modules:
        return 0
    return max(0, 5 - _logger().getEffectiveLevel() // 10)


def emit(lines: Iterable[tuple[int, str]], lost: int) -> None:
    """Hand lines of (libcgroup's level, text) to the logger, and say how many there was no room for."""
    logger = _logger()
    for level, text in lines:
        logger.log(50 - 10 * max(level, 1), "%s", text.rstrip("\n"))
    if lost:
        logger.warning("%d more lines of libcgroup are lost", lost)


def _logger() -> logging.Logger:
    import logging

    logger = logging.getLogger("pycgroup.libcgroup")
    if not logger.handlers:
        # Without any handler Python prints warnings to stderr, in a program that has not asked for it.
        logger.addHandler(logging.NullHandler())
    return logger
