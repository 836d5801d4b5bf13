"""install(): make programs and libraries that say `multiprocessing` run on tasuki, in their children too.

The standard package is patched in place. Putting another module into `sys.modules['multiprocessing']` cannot work:
what is pickled by that name must be the same object when it is looked up.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import sys

import tasuki
from tasuki import context


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # By their names only a fork server loads these: here they are seen by what freezes programs and looks for imports.
    import tasuki._private.installed
    import tasuki.queues
    import tasuki.sharedctypes  # noqa: F401

__all__ = ("install", "preload")

_get_preparation_data: Callable[[str], dict[str, Any]]

#: The key added to the preparation data of a child; an interpreter without tasuki's patches ignores unknown keys.
KEY = "tasuki_install"

#: What children of a fork server need not load each for itself.
_USED_BY_CHILDREN = ("tasuki.queues", "tasuki.sharedctypes", "tasuki._private.ends")


def install() -> None:
    """Make `multiprocessing` itself run on tasuki, in this process and in all processes it starts from now on.

    Call it before the libraries that are to use it are imported: a name bound earlier by
    `from multiprocessing import Queue` keeps what it was bound to. Calling it twice changes nothing.
    """
    if context._is_installed:
        return
    original = context._standard_default
    names = {name: getattr(tasuki, name) for name in tasuki._STANDARD_NAMES}
    for name, value in names.items():
        setattr(multiprocessing, name, value)
    setattr(multiprocessing.context, "_default_context", context._default_context)
    multiprocessing.context._concrete_contexts.update(context._contexts)  # type: ignore[attr-defined]
    # Modules of the package that were loaded earlier hold bound methods of the original default context.
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("multiprocessing.") and module is not None:
            for name, value in list(vars(module).items()):
                if name in names and getattr(value, "__self__", None) is original:
                    setattr(module, name, names[name])
    context._is_installed = True
    install_reduction()
    late = {
        "connection": install_connection,
        "shared_memory": install_shared_memory,
        "spawn": install_spawn,
        "synchronize": context._install_classes,
    }
    for name, install_module in late.items():
        if {f"multiprocessing.{name}", f"tasuki.{name}"} & set(sys.modules):
            install_module()
        else:
            sys.meta_path.insert(0, _Late(name, install_module))


def install_spawn() -> None:
    """Have children that are fresh interpreters install tasuki, too."""
    global _get_preparation_data
    from multiprocessing import spawn

    if spawn.get_preparation_data is not _preparation_data_with_install:
        _get_preparation_data = spawn.get_preparation_data
        spawn.get_preparation_data = _preparation_data_with_install


def install_reduction() -> None:
    """Let the standard functions send descriptors through our pipes, too."""
    import multiprocessing.reduction as standard

    from tasuki import reduction

    standard.send_handle = reduction.send_handle  # type: ignore[assignment]
    standard.recv_handle = reduction.recv_handle


def install_connection() -> None:
    """Put our functions into the standard module. Its Connection stays: ours are of that class."""
    import multiprocessing.connection as standard

    from tasuki import connection

    for name in ("Client", "Listener", "Pipe", "wait"):
        setattr(standard, name, getattr(connection, name))


def install_shared_memory() -> None:
    """Put our classes into the standard module, where its managers find them too."""
    import multiprocessing.shared_memory as standard
    from multiprocessing import resource_tracker

    from tasuki import _tasuki, shared_memory

    if standard.SharedMemory is shared_memory.SharedMemory:
        return  # ours did it itself while it was loaded
    standard.SharedMemory = shared_memory.SharedMemory  # type: ignore[misc]
    standard.ShareableList = shared_memory.ShareableList  # type: ignore[misc]
    # Many programs unregister what they have opened, so as not to destroy it. Ours was never registered, and at that the
    # tracker prints a traceback; to register it once more does nothing.
    unregister = resource_tracker.unregister

    def unregister_quietly(name: Any, rtype: str) -> None:
        if rtype == "shared_memory":
            resource_tracker.register(name, rtype)
            # Who unregisters memory means it to stay, whatever becomes of this program.
            _tasuki.NamedMemory.keep(name)
        unregister(name, rtype)

    resource_tracker.unregister = unregister_quietly


class _Late:
    """Has our classes put into a module of `multiprocessing` once a program imports it.

    Most never do, and some take 5 ms to load, in each process anew.
    """

    def __init__(self, name: str, install_module: Callable[[], None]) -> None:
        self._name = name
        self._install = install_module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != f"multiprocessing.{self._name}":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                load = spec.loader.exec_module

                def exec_module(module: Any) -> None:
                    load(module)
                    # Unless ours is what imports it: then it installs itself at its end. Ours of spawn is an alias.
                    if self._name == "spawn" or f"tasuki.{self._name}" not in sys.modules:
                        self._install()

                setattr(spec.loader, "exec_module", exec_module)
                return spec
        return None


class _InstallInChild:
    """Pickles as a call that installs tasuki where it is unpickled: before the child imports its `__main__`."""

    def __init__(self, path: list[str]) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        # The parent's path is not in force yet, and tasuki may be importable only through it.
        code = (
            "import sys\n"
            "saved, sys.path = sys.path, path\n"
            "try:\n"
            "    from tasuki import install\n"
            "finally:\n"
            "    sys.path = saved\n"
            "install()\n"
        )
        return exec, (code, {"path": self._path})


def _preparation_data_with_install(name: str) -> dict[str, Any]:
    data = _get_preparation_data(name)
    data[KEY] = _InstallInChild(list(data.get("sys_path", sys.path)))
    return data


def preload() -> None:
    """Let the fork server load tasuki before it forks, whatever else it was told to preload.

    After install() the server must not import `__main__` itself: it would do so before anything is patched. The
    children import it, each after its install().
    """
    from multiprocessing import forkserver

    server = forkserver._forkserver
    modules: list[str] = list(server._preload_modules)  # type: ignore[attr-defined]
    first = "tasuki._private.installed" if context._is_installed else "tasuki"
    if first not in modules:
        if context._is_installed:
            modules = [module for module in modules if module != "__main__"]
        # Since Python 3.15 a program says what is to become of those that cannot be imported.
        more = {"on_error": server._preload_on_error} if hasattr(server, "_preload_on_error") else {}
        forkserver.set_forkserver_preload([first, *_USED_BY_CHILDREN, *modules], **more)
