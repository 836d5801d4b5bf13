"""The names are all there, and they are the standard ones where identity matters."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import multiprocessing.context
import pickle
import queue
import typing
from typing import Any

import pytest

import tasuki

SUBMODULES = (
    "connection context dummy dummy.connection forkserver heap managers pool popen_fork popen_forkserver "
    "popen_spawn_posix process queues reduction resource_sharer resource_tracker shared_memory sharedctypes spawn "
    "synchronize util"
).split()


def test_every_public_name_of_the_standard_package_is_there() -> None:
    assert set(multiprocessing.__all__) <= set(tasuki.__all__)
    for name in tasuki.__all__:
        assert getattr(tasuki, name) is not None


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_submodule_can_be_imported_and_star_imported(name: str) -> None:
    names: dict[str, object] = {}
    exec(f"import tasuki.{name}\nfrom tasuki.{name} import *", names)
    standard = __import__(f"multiprocessing.{name}", fromlist=["*"])
    for public in standard.__all__:
        assert public in names


def test_submodules_are_reached_as_attributes() -> None:
    assert tasuki.pool.ThreadPool is __import__("multiprocessing.pool", fromlist=["*"]).ThreadPool
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tasuki.nothing


@pytest.mark.parametrize("name", ["command", "timer"])
def test_our_own_submodules_are_reached_as_attributes_too(run: Any, name: str) -> None:
    run(f"import tasuki\nassert tasuki.{name}.__all__")


@pytest.mark.parametrize("name", ["context", "queues", "synchronize", "timer"])
def test_what_a_submodule_offers_is_listed_by_dir(run: Any, name: str) -> None:
    run(f"import tasuki.{name} as it\nassert set(it.__all__) <= set(dir(it)), set(it.__all__) - set(dir(it))")


@pytest.mark.parametrize("name", ["AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"])
def test_exceptions_are_the_standard_ones(name: str) -> None:
    assert getattr(tasuki, name) is getattr(multiprocessing, name)


def test_contexts_are_standard_contexts(ctx: tasuki.context.BaseContext) -> None:
    assert isinstance(ctx, multiprocessing.context.BaseContext)
    assert isinstance(ctx, type(multiprocessing.get_context(ctx.get_start_method())))
    assert issubclass(ctx.Process, multiprocessing.process.BaseProcess)
    assert ctx.get_context() is ctx
    assert ctx.get_context("spawn") is tasuki.get_context("spawn")


def test_every_name_exists_on_every_context(ctx: tasuki.context.BaseContext) -> None:
    for name in multiprocessing.__all__:
        if name != "get_all_start_methods":
            assert hasattr(ctx, name)


def test_an_unknown_start_method_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot find context for 'telepathy'"):
        tasuki.get_context("telepathy")


def test_a_start_method_that_somebody_else_registered_is_theirs() -> None:
    class Foreign(multiprocessing.context.BaseContext):
        _name = "foreign"

    foreign = Foreign()
    contexts = multiprocessing.context._concrete_contexts
    contexts["foreign"] = foreign
    try:
        assert tasuki.get_context("foreign") is foreign
    finally:
        del contexts["foreign"]


def test_the_default_start_method_is_shared_with_the_standard_library(run) -> None:
    run(
        """
        import multiprocessing, tasuki
        assert tasuki.get_start_method(allow_none=True) is None
        tasuki.set_start_method("spawn")
        assert multiprocessing.get_start_method() == "spawn"
        assert type(multiprocessing.get_context()) is multiprocessing.context.SpawnContext
        assert tasuki.get_context() is tasuki.get_context("spawn")
        try:
            multiprocessing.set_start_method("fork")
        except RuntimeError:
            pass
        else:
            raise AssertionError
        multiprocessing.set_start_method("fork", force=True)
        assert tasuki.get_context() is tasuki.get_context("fork")
        tasuki.set_start_method(None, force=True)
        assert multiprocessing.get_start_method(allow_none=True) is None
        """
    )


def test_engine_tells_what_runs_on_the_engine() -> None:
    assert set(tasuki.ENGINE) | set(tasuki.ENGINE.standard) == set(tasuki._STANDARD_NAMES)
    assert "Pool" not in tasuki.ENGINE
    for name in tasuki.ENGINE:
        assert name in repr(tasuki.ENGINE)
    with pytest.raises(AttributeError, match="cannot be changed"):
        tasuki.ENGINE.standard = ()
    with pytest.raises(TypeError):
        tasuki.ENGINE["Pool"] = "tasuki"  # type: ignore[index]


def _double(numbers: queue.Queue[int], doubled: queue.Queue[int]) -> None:
    for number in iter(numbers.get, None):
        doubled.put(2 * number)


def test_processes_and_queues(ctx: tasuki.context.BaseContext) -> None:
    numbers, doubled = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_double, args=(numbers, doubled))
    process.start()
    for number in (1, 2, 3, None):
        numbers.put(number)
    assert [doubled.get(timeout=120) for _ in range(3)] == [2, 4, 6]
    process.join(120)
    assert process.exitcode == 0


def test_a_context_is_found_again_by_pickle(ctx: tasuki.context.BaseContext) -> None:
    assert pickle.loads(pickle.dumps(type(ctx))) is type(ctx)


def test_annotations_can_be_evaluated() -> None:
    """As those of the standard library can, which has none: by whoever injects arguments, checks types or writes documentation."""
    functions = {}
    for name in ["", *(f".{name}" for name in [*SUBMODULES, "command", "timer", "arrays"])]:
        module = importlib.import_module(f"tasuki{name}")
        for holder in [module, *filter(inspect.isclass, vars(module).values())]:
            for attribute in vars(holder).values():
                function = (
                    attribute.fget if isinstance(attribute, property) else getattr(attribute, "__func__", attribute)
                )
                if inspect.isfunction(function) and function.__module__.startswith("tasuki"):
                    functions[function] = f"{function.__module__}.{function.__qualname__}"
    assert len(functions) > 200
    refused = {}
    for function, name in functions.items():
        try:
            typing.get_type_hints(function)
        except (NameError, AttributeError, TypeError) as error:
            refused[name] = error
    assert not refused
