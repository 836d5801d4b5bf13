"""Run an unmodified program on tasuki: `python -m tasuki script.py args…`, or `-m module`, `-c code` or `-` for the script."""

import sys

import tasuki
from tasuki._private import running

__all__ = ("main",)

USAGE = """usage: python -m tasuki SCRIPT [ARGS...]
       python -m tasuki -m MODULE [ARGS...]
       python -m tasuki -c CODE [ARGS...]
       python -m tasuki - [ARGS...]

Runs a program written for the standard library's multiprocessing on tasuki, unmodified, its child processes too.
"""


def main(args: list[str]) -> None:
    """Install tasuki, then become the program that the arguments name."""
    if not args or args[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return
    tasuki.install()
    if args[0] == "-m" and len(args) > 1:
        running.run_module(args[1], args[2:])
    elif args[0] == "-c" and len(args) > 1:
        running.run_code(args[1], args[2:])
    elif args[0] == "-":
        running.run_stdin(args[1:])
    elif args[0] == "--version":
        sys.stdout.write(f"tasuki {tasuki.__version__}\n")
    elif args[0].startswith("-"):
        sys.exit(USAGE)
    else:
        running.run_path(args[0], args[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
