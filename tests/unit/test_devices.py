# SPDX-License-Identifier: MIT
"""Files with a line per device: text and mappings in, a frozen mapping out, devices by number or by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pycgroup import devices
from pycgroup.codecs import UNLIMITED, Codec
from tests.support import machine
from tests.support.capabilities import disks, needs

BPS, IOPS, RBPS = devices.BYTES_PER_SECOND, devices.IO_PER_SECOND, devices.RBPS


@pytest.mark.parametrize(
    ("codec", "value", "text"),
    [
        (BPS, {"8:0": 100_000_000}, "8:0 100000000"),
        (BPS, "8:0 100000000", "8:0 100000000"),
        (BPS, {"8:0": "10M", "8:16": 5}, "8:0 10485760\n8:16 5"),
        (BPS, "8:0 10M\n8:16 5\n", "8:0 10485760\n8:16 5"),
        (BPS, {"8:0": UNLIMITED}, "8:0 0"),
        (BPS, {"8:0": "max"}, "8:0 0"),
        (BPS, {}, ""),
        (IOPS, {"8:0": 20}, "8:0 20"),
        (devices.WEIGHTS, "default 100", "default 100"),
        (devices.PRIORITIES, {"eth0": 5}, "eth0 5"),
        (devices.MISC_LIMITS, {"res_a": UNLIMITED}, "res_a max"),
        (RBPS, {"8:0": 1000}, "8:0 rbps=1000"),
        (RBPS, "8:0 1000", "8:0 rbps=1000"),
        (RBPS, {"8:0": 0}, "8:0 rbps=max"),
        (RBPS, {"8:0": -1}, "8:0 rbps=max"),
        (devices.IO_LIMITS, {"8:0": {"rbps": "10M", "wiops": UNLIMITED}}, "8:0 rbps=10485760 wiops=max"),
        (devices.RESOURCES, {"mlx4_0": {"hca_handle": 2}}, "mlx4_0 hca_handle=2"),
        (devices.RESOURCES, "mlx4_0 hca_handle=2", "mlx4_0 hca_handle=2"),
    ],
)
def test_what_is_written(codec: Codec[Any, Any], value: Any, text: str) -> None:
    assert codec.encode(value) == text


@pytest.mark.parametrize(
    ("codec", "current", "text"),
    [
        (BPS, "8:0 5\n8:16 7", "8:0 0\n8:32 9"),
        (RBPS, "8:0 rbps=5 wbps=6 riops=max wiops=max", "8:0 rbps=max\n8:32 rbps=9"),
    ],
)
def test_a_mapping_takes_the_limit_from_devices_that_it_leaves_out(
    codec: Codec[Any, Any], current: str, text: str
) -> None:
    value = {"8:32": 9, "8:16": 7} if "8:16" in current else {"8:32": 9}
    assert set(codec.encode(value, current).split("\n")) >= set(text.split("\n"))


def test_text_leaves_other_devices_alone() -> None:
    assert BPS.encode("8:32 9", "8:0 5") == "8:32 9"


@pytest.mark.parametrize(
    ("codec", "text", "value"),
    [
        (BPS, "", {}),
        (BPS, "8:0 5\n8:16 7", {"8:0": 5, "8:16": 7}),
        (devices.MISC_LIMITS, "res_a max\nres_b 5", {"res_a": UNLIMITED, "res_b": 5}),
        (RBPS, "8:0 rbps=5 wbps=max\n8:16 rbps=max wbps=1", {"8:0": 5}),
        (devices.IO_LIMITS, "8:0 rbps=5 wbps=max", {"8:0": {"rbps": 5, "wbps": UNLIMITED}}),
        (devices.RESOURCES, "", {}),
        (
            devices.IO_COUNTERS,
            "8:0 Read 4096\n8:0 Write 0\nTotal 4096",
            {"8:0": {"Read": 4096, "Write": 0}, "Total": {"Total": 4096}},
        ),
    ],
)
def test_what_is_read(codec: Codec[Any, Any], text: str, value: Any) -> None:
    assert codec.decode(text) == value


WRONG = ["8:0", "8:0 x", "8:0 1 2", "a:b 5", "8:0 -5", "8:0 5\n\n", "/nowhere 5", "8:0 10MB", "8:0\0 5", "\ud800 5"]
WRONG_MAPS = [
    {"8": 5},
    {8: 5},
    {"8:0": None},
    {"8:0": []},
    {"8:0": 1.5},
    {"8:0\n9:9": 5},
    {"8:0 ": 5},
    {"/nowhere\0": 1},
]


@pytest.mark.parametrize("codec", [BPS, IOPS, RBPS])
@pytest.mark.parametrize("value", [*WRONG, *WRONG_MAPS, 5, None, b"8:0 5", ["8:0 5"]], ids=repr)
def test_other_values_are_refused(codec: Codec[Any, Any], value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the wording differs
        codec.encode(value)


@pytest.mark.parametrize(
    "value", [5, None, {"8:0": 5}, {"8:0": {}}, {"8:0": {"a b": 5}}, {"8:0": {"rbps": "x"}}, {"8": {"rbps": 1}}]
)
def test_other_resources_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        devices.IO_LIMITS.encode(value)


def test_what_is_staged_reads_as_the_kernel_will_say_it() -> None:
    assert BPS.normal({"8:0": "10M", "8:16": UNLIMITED}) == {"8:0": 10 << 20}
    assert RBPS.normal({"8:0": 5, "8:16": 0}) == {"8:0": 5}


def test_a_file_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a block device"):
        BPS.encode({str(tmp_path): 5})


@needs("block-device")
def test_a_device_may_be_named_by_its_path() -> None:
    numbers = next(disks())
    names = dict(line.split("=") for line in machine.read(f"/sys/dev/block/{numbers}/uevent").splitlines())
    path = f"/dev/{names['DEVNAME']}"
    if not Path(path).is_block_device():
        pytest.skip(f"{path} is not here")
    assert BPS.encode({path: 5}) == BPS.encode(f"{path} 5") == f"{numbers} 5"


def test_what_is_read_cannot_be_changed() -> None:
    limits = BPS.decode("8:0 5")
    with pytest.raises(TypeError):
        limits["8:0"] = 6  # type: ignore[index]
    with pytest.raises(AttributeError):
        limits.anything = 6


@pytest.mark.parametrize("value", ["eth0 1\n\0 2", {"\ud800": 1}, {"a\0b": 1}])
def test_what_no_file_can_take_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - encoding errors are ValueErrors, too
        devices.PRIORITIES.encode(value)


def test_a_mapping_says_what_all_limits_are_to_be() -> None:
    now = "8:0 rbps=5 wbps=max\n8:16 riops=7"
    assert devices.IO_LIMITS.encode({"8:0": {"wbps": "1K"}}, now) == "8:0 rbps=max wbps=1024\n8:16 riops=max"
    assert devices.IO_LIMITS.encode({}, now) == "8:0 rbps=max wbps=max\n8:16 riops=max"
    assert devices.IO_LIMITS.encode({}, "") == ""
    assert devices.IO_LIMITS.encode("8:0 wbps=1K\n\n", now) == "8:0 wbps=1024"


def test_the_weight_is_what_devices_have_by_default() -> None:
    now = "default 100\n8:0 200"
    assert [devices.WEIGHT.decode(text) for text in (now, "default 50")] == [100, 50]
    assert devices.WEIGHT.encode("75") == "default 75"
    assert devices.OWN_WEIGHTS.decode(now) == {"8:0": 200}
    assert devices.OWN_WEIGHTS.encode({"8:16": 10}, now) == "8:16 10\n8:0 default"
    for refused in ("default 10", 1.5, None):
        with pytest.raises(ValueError, match="is not"):
            devices.WEIGHT.encode(refused)  # type: ignore[arg-type]
