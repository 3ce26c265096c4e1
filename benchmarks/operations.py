# SPDX-License-Identifier: MIT
"""What is measured: one entry per operation, and in it one statement per implementation.

The statements run in the namespaces of implementations.py. To add an operation, add an entry here and, for its limit,
a function in limit.c. ``limit_bytes`` is 64 MiB everywhere, an int going in and an int coming out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Operation:
    """An operation, its limit in C, and how each implementation says it."""

    name: str
    limit: str
    """The operation of limit.c that is 1.00."""
    limit_is: str
    """What that operation does, in a few words."""
    target: float
    """The ratio to the limit that pycgroup should not exceed."""
    statements: Mapping[str, str]
    ahead: float | None = None
    """How many times faster than every peer pycgroup should be."""
    also_in_c: Mapping[str, str] = field(default_factory=dict)
    """Variants in C, by name: operations of limit.c."""
    pause: float = 0.0
    """Seconds of rest before each single call; 0 means calls in a tight loop."""


PROPERTY_WRITE = Operation(
    "property write",
    limit="write",
    limit_is="open, write, close",
    target=1.7,
    ahead=2.0,
    statements={
        "pycgroup": "memory.limit_in_bytes = limit_bytes",
        "os calls": "fd = os.open(limit_file, os.O_WRONLY); os.write(fd, b'%d' % limit_bytes); os.close(fd)",
        "open()": "with open(limit_file, 'w') as file: file.write(str(limit_bytes))",
        "benchexec": "group.set_value('memory', 'limit_in_bytes', limit_bytes)",
        "cgroupspy": "node.controller.limit_in_bytes = limit_bytes",
        "libcgroup": "group.set_value('memory.limit_in_bytes', limit_bytes)",
    },
)

PROPERTY_READ = Operation(
    "property read",
    limit="read",
    limit_is="open, read, close",
    target=1.7,
    ahead=2.0,
    statements={
        "pycgroup": "memory.limit_in_bytes",
        "os calls": "fd = os.open(limit_file, os.O_RDONLY); int(os.read(fd, 64)); os.close(fd)",
        "open()": "with open(limit_file) as file: int(file.read())",
        "benchexec": "int(group.get_value('memory', 'limit_in_bytes'))",
        "cgroupspy": "node.controller.limit_in_bytes",
        "libcgroup": "group.get('memory.limit_in_bytes', val_type=int, use_cached=False)",
    },
)

MEMORY_STAT = Operation(
    "memory.stat",
    limit="stat",
    limit_is="open, read, close, parse",
    target=2.0,
    statements={
        "pycgroup": "memory.stat.total_rss",
        "pycgroup, all as a dict": "dict(memory.stat)",
        "os calls, a dict": (
            "fd = os.open(stat_file, os.O_RDONLY); words = os.read(fd, 16384).split(); os.close(fd); "
            "dict(zip(words[::2], map(int, words[1::2])))"
        ),
        "open(), a dict": "with open(stat_file) as file: {k: int(v) for k, v in map(str.split, file)}",
        "benchexec": "{k: int(v) for k, v in group.get_key_value_pairs('memory', 'stat')}",
        "cgroupspy": "node.controller.stat",
        "libcgroup": "group.get('memory.stat', val_type=parse, use_cached=False)",
    },
)

HANDLE = Operation(
    "handle",
    limit="handle",
    limit_is="open(O_PATH)",
    target=0.5,
    statements={
        "pycgroup": "MEMORY(name)",
        "os calls": "os.close(os.open(group_directory, os.O_PATH))",
        "benchexec": "CgroupsV1({'memory': group_directory})",
        "cgroupspy": "Node(name, parent=hierarchy)",
        "libcgroup": "CGroup.from_existing(name)",
    },
)

CYCLE = Operation(
    "create, limit, delete",
    limit="cycle",
    limit_is="mkdir, write, rmdir",
    target=2.0,
    statements={
        "pycgroup": "group = MEMORY(child, limit_in_bytes=limit_bytes); group.create(); group.delete()",
        "pycgroup, with": "with MEMORY(child, limit_in_bytes=limit_bytes): pass",
        "os calls": (
            "os.mkdir(child_directory); fd = os.open(child_limit_file, os.O_WRONLY); "
            "os.write(fd, b'%d' % limit_bytes); os.close(fd); os.rmdir(child_directory)"
        ),
        "benchexec": (
            "group = hierarchy.create_fresh_child_cgroup(['memory'], child); "
            "group.set_value('memory', 'limit_in_bytes', limit_bytes); group.remove()"
        ),
        "cgroupspy": (
            "hierarchy.create_cgroup(child).controller.limit_in_bytes = limit_bytes; hierarchy.delete_cgroup(child)"
        ),
        "libcgroup": (
            "group = CGroup(child, 'memory'); group.set_value('memory.limit_in_bytes', limit_bytes); group.delete()"
        ),
    },
)

ATTACH = Operation(
    "attach and back, isolated",
    limit="attach",
    limit_is='"0" to tasks, kept fds',
    target=1.5,
    pause=0.04,
    also_in_c={"C, open each time": "attach-open", "C, and /proc/self/cgroup": "attach-known"},
    statements={
        "pycgroup": "there.attach(); there.detach()",
        "pycgroup, a new handle": "group = CPUACCT(there_name); group.attach(); group.detach()",
        "os calls, kept fds": "os.write(there_tasks, b'0'); os.write(back_tasks, b'0')",
        "os calls": (
            "fd = os.open(there_file, os.O_WRONLY); os.write(fd, b'0'); os.close(fd); "
            "fd = os.open(back_file, os.O_WRONLY); os.write(fd, b'0'); os.close(fd)"
        ),
        "benchexec": "there.add_task(pid); back.add_task(pid)",
        "cgroupspy": "there.controller.procs = [pid]; back.controller.procs = [pid]",
        "libcgroup": "there.add_current_thread(); back.add_current_thread()",
    },
)

OPERATIONS = (PROPERTY_WRITE, PROPERTY_READ, MEMORY_STAT, HANDLE, CYCLE, ATTACH)
