# SPDX-License-Identifier: MIT
"""The exception tree: each is a CgroupError and the fitting builtin, carries what is known, and can be pickled."""

from __future__ import annotations

import errno
import inspect
import pickle
from typing import Any

import pytest

import pycgroup
from pycgroup import errors

BUILTINS: dict[type[errors.CgroupError], type[Exception]] = {
    errors.CgroupError: Exception,
    errors.UnavailableError: errors.CgroupError,
    errors.GroupNotFoundError: FileNotFoundError,
    errors.GroupExistsError: FileExistsError,
    errors.GroupBusyError: OSError,
    errors.PermissionDeniedError: PermissionError,
    errors.NoSuchProcessError: ProcessLookupError,
    errors.InvalidNameError: ValueError,
    errors.SettingError: errors.CgroupError,
    errors.UnsupportedSettingError: AttributeError,
    errors.ReadOnlySettingError: AttributeError,
    errors.InvalidValueError: ValueError,
    errors.EventError: errors.CgroupError,
    errors.ClosedError: errors.EventError,
    errors.GroupRemovedError: errors.EventError,
    errors.BusyError: errors.EventError,
}


def all_errors() -> list[type[errors.CgroupError]]:
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, errors.CgroupError)]


def test_the_table_above_is_complete() -> None:
    assert set(all_errors()) >= set(BUILTINS)


@pytest.mark.parametrize("kind", all_errors())
def test_each_is_importable_from_the_package(kind: type[errors.CgroupError]) -> None:
    assert getattr(pycgroup, kind.__name__) is kind


@pytest.mark.parametrize(("kind", "builtin"), BUILTINS.items())
def test_each_is_the_fitting_builtin(kind: type[errors.CgroupError], builtin: type[Exception]) -> None:
    assert issubclass(kind, errors.CgroupError)
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("kind", all_errors())
def test_each_carries_what_is_known_through_pickle(kind: type[errors.CgroupError]) -> None:
    fields: dict[str, Any] = {
        "group": "/g",
        "setting": "memory.limit_in_bytes",
        "value": "1",
        "errno": errno.EBUSY,
        "code": 50016,
    }
    error = pickle.loads(pickle.dumps(kind("it failed", **fields)))
    assert type(error) is kind
    assert str(error) == "it failed"
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize("kind", all_errors())
def test_nothing_is_known_by_default(kind: type[errors.CgroupError]) -> None:
    error = kind("it failed")
    assert (error.group, error.setting, error.value, error.errno, error.code) == (None,) * 5


@pytest.mark.parametrize("kind", all_errors())
def test_each_can_be_raised_without_a_message(kind: type[errors.CgroupError]) -> None:
    assert str(kind()) == ""


@pytest.mark.parametrize("kind", all_errors())
def test_each_says_when_it_is_raised(kind: type[errors.CgroupError]) -> None:
    assert kind.__doc__
    assert kind.__name__ in str(errors.__doc__)
