"""The lab's command line: python3 -m lab …"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.base import SUITES
from lab.commands import COMMANDS, run_command
from lab.run import default_name
from lab.shell import LabError

WITHOUT_RUN = {"list", "prune", "doctor"}
WITHOUT_NAME = WITHOUT_RUN | {"up", "down"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python3 -m lab", description="Throw-away hosts with a real systemd.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for word, function in COMMANDS.items():
        made[word] = sub = commands.add_parser(word, help=function.__doc__, description=function.__doc__)
        if word not in WITHOUT_RUN:
            sub.add_argument("--run", default=default_name(), help="the run it is about (default: this checkout's)")
        if word not in WITHOUT_NAME:
            sub.add_argument("name", metavar="NAME", help="the host")
    made["up"].add_argument("names", metavar="NAME", nargs="+", help="hosts")
    made["up"].add_argument("--suite", choices=SUITES, default=SUITES[0], help="the Debian of hosts it makes")
    made["up"].add_argument("--from", dest="label", metavar="LABEL", help="the snapshot it makes hosts from")
    made["up"].add_argument("--inventory", type=Path, metavar="PATH", help="write an Ansible inventory here")
    made["up"].add_argument("--owner", type=int, metavar="PID", help="when this process has ended, prune takes the run")
    made["down"].add_argument("names", metavar="NAME", nargs="*", help="hosts (default: all of the run)")
    made["snapshot"].add_argument("label", metavar="LABEL", help="what to call it")
    made["exec"].add_argument("words", metavar="-- WORD", nargs="*", help="the command (default: a shell)")
    return top


def main(words: list[str]) -> int:
    """Run one command; errors are said on standard error."""
    mine, theirs = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    args = parser().parse_args(mine)
    if theirs and args.command == "exec":
        args.words = theirs
    try:
        run_command(args)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
