# SPDX-License-Identifier: MIT
"""Build pycgroup/_libcgroup.abi3.so: what is bound of libcgroup, the C shim beside it, and hatchling's build hook.

It imports nothing of the package. `python build_libcgroup.py` builds the module in place.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "pycgroup._libcgroup"
FILE = "pycgroup/_libcgroup.abi3.so"
#: The oldest Python whose stable ABI the module keeps to; `requires-python` says the same.
ABI = (3, 11)

PACKAGES = """\
pycgroup compiles a small module against libcgroup, and {missing}.
Install what it needs, then try again:
  Debian, Ubuntu:  apt-get install gcc libc6-dev pkg-config libcgroup-dev python3-dev
  Fedora:          dnf install gcc pkgconf-pkg-config libcgroup-devel python3-devel"""

CDEF = """
enum {
    ECGROUPNOTMOUNTED, ECGROUPNOTEXIST, ECGROUPSUBSYSNOTMOUNTED, ECGROUPNOTOWNER, ECGROUPNOTALLOWED, ECGINVAL,
    ECGFAIL, ECGROUPNOTINITIALIZED, ECGOTHER, ECGNONEMPTY, ...
};
enum cgroup_delete_flag { CGFLAG_DELETE_RECURSIVE, ... };
typedef int... pid_t;
struct cgroup;
struct cgroup_controller;

int cgroup_init(void);
int cgroup_get_last_errno(void);
int cgroup_get_subsys_mount_point(const char *controller, char **mount_point);
struct cgroup *cgroup_new_cgroup(const char *name);
struct cgroup_controller *cgroup_add_controller(struct cgroup *cgroup, const char *name);
int cgroup_delete_cgroup_ext(struct cgroup *cgroup, int flags);
int cgroup_attach_task(struct cgroup *cgroup);
int cgroup_attach_task_pid(struct cgroup *cgroup, pid_t tid);
"""

#: Bound where the installed libcgroup has them: a C expression that compiles only there (a mere call of an
#: undeclared function would), and the declarations.
OPTIONAL = {
    "cgroup_version()->major": """
        struct cgroup_library_version { unsigned int major; unsigned int minor; unsigned int release; ...; };
        const struct cgroup_library_version *cgroup_version(void);
    """,
}

SHIM_CDEF = """
char *const PYCGROUP_HEADERS;
void pycgroup_free_group(struct cgroup *cgroup);
void pycgroup_free_text(char *text);
void pycgroup_log_start(void);
void pycgroup_log_threshold(int level);
int pycgroup_log_pending(void);
int pycgroup_log_take(char *text, size_t size);
unsigned int pycgroup_log_lost(void);

enum { PYCGROUP_STARTED, PYCGROUP_ENTER, PYCGROUP_PREPARE, PYCGROUP_CHDIR, PYCGROUP_EXEC };
struct pycgroup_child {
    int input, output, error;
    int close_fds, restore_signals, new_session;
    int process_group, umask;
    long long user, group;
    int group_count, keep_count;
    int stage, number, which, pid, returncode;
    double user_time, system_time;
};
int pycgroup_start(struct pycgroup_child *child, const char *into, const char *texts, int entry_count,
                   int program_count, int argument_count, const char *environment, int environment_count,
                   const char *directory, const unsigned int *groups, const int *keep);
int pycgroup_is_subreaper(void);

int pycgroup_make(const char *directory, const char *settings, int count);
int pycgroup_read(const char *names, int count, char *texts, int size);
int pycgroup_remove(const char *directory);
int pycgroup_finish(struct pycgroup_child *child, const char *names, int count, char *texts, int size);
int pycgroup_let_go(struct pycgroup_child *child);

struct pycgroup_top { int descriptor; unsigned long long device, inode; char path[]; };
int pycgroup_open_top(struct pycgroup_top *top);
void pycgroup_close_top(struct pycgroup_top *top);
long long pycgroup_register(const struct pycgroup_top *top, const char *path, const char *file, const char *argument);
long long pycgroup_register_oom(const struct pycgroup_top *top, const char *path, int log);
struct pycgroup_listener { int event, watched; long long signals; double time; long long told; int turn; };
long long pycgroup_wait(struct pycgroup_listener *listener, long long nanoseconds);
long long pycgroup_take(long long address);

struct pycgroup_log { int file, used; char kept[...]; };
int pycgroup_read_log(struct pycgroup_log *log, const char *beginnings, int goes_on);
"""

#: C that stands alone, without libcgroup and without Python: of spawn.py, combined.py, _signals.py and victims.py.
SOURCES = [Path(__file__).parent / "src" / name for name in ("spawn.c", "life.c", "eventfd.c", "kmsg.c")]

SHIM = r"""
#include <libcgroup.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static char *const PYCGROUP_HEADERS = "@VERSION@";

static void pycgroup_free_group(struct cgroup *cgroup) { cgroup_free(&cgroup); }
static void pycgroup_free_text(char *text) { free(text); }

/* What libcgroup logs. It calls the logger with its mount table locked and without the GIL, so that nothing of
   Python may be touched here: a line is formatted into a queue of the calling thread, which takes it out after the
   call. One queue for each thread needs no lock, and so no lock can be left held in a forked child. */
enum { LINES = 16, LENGTH = 256 };
struct line { int level; char text[LENGTH]; };
static __thread struct line lines[LINES];
static __thread unsigned int first, count, lost;
static volatile int threshold;

static void pycgroup_log_keep(void *unused, int level, const char *format, va_list arguments)
{
    struct line *line;

    (void)unused;
    if (level > threshold || !threshold)
        return;
    if (count == LINES) {
        lost++;
        return;
    }
    line = &lines[(first + count++) % LINES];
    line->level = level;
    vsnprintf(line->text, LENGTH, format, arguments);
}

static void pycgroup_log_start(void) { cgroup_set_logger(pycgroup_log_keep, CGROUP_LOG_DEBUG, NULL); }
static void pycgroup_log_threshold(int level) { threshold = level; }
static int pycgroup_log_pending(void) { return count > 0 || lost > 0; }

static int pycgroup_log_take(char *text, size_t size)
{
    struct line *line = &lines[first];

    if (!count)
        return -1;
    snprintf(text, size, "%s", line->text);
    first = (first + 1) % LINES;
    count--;
    return line->level;
}

static unsigned int pycgroup_log_lost(void)
{
    unsigned int number = lost;

    lost = 0;
    return number;
}
"""


class MissingError(Exception):
    """Something that the build needs is not installed; the text says which packages bring it."""

    def __init__(self, missing: str) -> None:
        super().__init__(PACKAGES.format(missing=missing))


def pkg_config(*options: str) -> str:
    """Ask pkg-config about libcgroup."""
    program = shutil.which(os.environ.get("PKG_CONFIG", "pkg-config")) or shutil.which("pkgconf")
    if program is None:
        raise MissingError("pkg-config is missing")
    answer = subprocess.run([program, *options, "libcgroup"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise MissingError("its headers are missing (pkg-config does not know libcgroup)")
    return answer.stdout.strip()


class Compiler:
    """The C compiler with the flags for Python and libcgroup."""

    def __init__(self) -> None:
        self.command = shlex.split(os.environ.get("CC", "cc" if shutil.which("cc") else "gcc"))
        if shutil.which(self.command[0]) is None:
            raise MissingError(f"there is no C compiler ({self.command[0]})")
        paths = sysconfig.get_paths()
        includes = [f"-I{path}" for path in dict.fromkeys((paths["include"], paths["platinclude"]))]
        self.cflags = [*includes, *shlex.split(pkg_config("--cflags")), *shlex.split(os.environ.get("CFLAGS", ""))]
        self.libs = [*shlex.split(os.environ.get("LDFLAGS", "")), *shlex.split(pkg_config("--libs"))]

    def run(self, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
        flags = ["-shared", "-fPIC", "-O2", "-g0", f"-DPy_LIMITED_API={ABI[0]:#04x}{ABI[1]:02x}0000", *self.cflags]
        command = [*self.command, *flags, str(source), "-o", str(target), *self.libs]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def accepts(self, code: str) -> bool:
        """Compile and link a few lines to see whether they are understood here."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(code)
            return self.run(source, Path(folder, "probe.so")).returncode == 0

    def check(self) -> None:
        """Raise MissingError unless the headers of Python, of the C library and of libcgroup are there."""
        needed = {"libc6-dev": "stdio.h", "python3-dev": "Python.h", "libcgroup-dev": "libcgroup.h"}
        for package, header in needed.items():
            if not self.accepts(f"#include <{header}>\n"):
                raise MissingError(f"{header} is missing (Debian's {package})")


def optional_cdef(compiler: Compiler) -> str:
    """Return the declarations of what this libcgroup has beyond 2.0.2."""
    probe = "#include <libcgroup.h>\nint probe(void) {{ return (int)({expression}); }}\n"
    return "".join(cdef for code, cdef in OPTIONAL.items() if compiler.accepts(probe.format(expression=code)))


def ffibuilder(optional: str = "", version: str = "0") -> FFI:
    """Describe the module to cffi."""
    ffi = FFI()
    ffi.cdef(CDEF + optional + SHIM_CDEF)
    ffi.set_source(MODULE, "".join([SHIM.replace("@VERSION@", version), *(source.read_text() for source in SOURCES)]))
    return ffi


def build(target: Path) -> None:
    """Compile the module into `target`, replacing what is there only once that has succeeded."""
    compiler = Compiler()
    compiler.check()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source, result = Path(folder, "_libcgroup.c"), Path(folder, target.name)
        ffibuilder(optional_cdef(compiler), pkg_config("--modversion")).emit_c_code(str(source))
        answer = compiler.run(source, result)
        if answer.returncode:
            raise RuntimeError(f"the C compiler failed:\n{answer.stderr}")
        result.replace(target)


def wheel_tag() -> str:
    """Return the wheel's tag. The platform is plain linux: the module needs the system's libcgroup."""
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"cp{ABI[0]}{ABI[1]}-abi3-{platform}"


class LibcgroupBuildHook(BuildHookInterface[Any]):
    """Compile for a wheel, or in place for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        target = Path(self.root, FILE) if version == "editable" else Path(tempfile.mkdtemp(), Path(FILE).name)
        self.made = target
        try:
            build(target)
        except MissingError as missing:
            self.app.abort(str(missing))
        build_data.update(pure_python=False, tag=wheel_tag())
        if version != "editable":
            build_data["force_include"][str(target)] = FILE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            shutil.rmtree(self.made.parent)


if __name__ == "__main__":
    try:
        build(Path(__file__).parent / FILE)
    except MissingError as missing:
        sys.exit(str(missing))
