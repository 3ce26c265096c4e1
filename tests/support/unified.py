# SPDX-License-Identifier: MIT
"""A class for groups of the v2 hierarchy, which hybrid hosts have beside their controllers on v1."""

from __future__ import annotations

from pycgroup.controllers import Core


class UNIFIED(Core, v2="cgroup"):
    """A group of the v2 hierarchy with what every group there has."""

    __slots__ = ()
