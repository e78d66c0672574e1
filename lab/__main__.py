"""The lab's command line: python3 -m lab …"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.base import SUITES
from lab.doctor import missing
from lab.run import Run
from lab.shell import LabError
from lab.supervise import supervise

ACTS = ("start", "stop", "crash", "reboot", "partition", "heal")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="boot hosts; those that run are left alone")
    up.add_argument("names", nargs="+")
    up.add_argument("--suite", choices=SUITES, default="trixie")
    up.add_argument("--inventory", type=Path, help="write an Ansible inventory here")
    for name in ACTS:
        commands.add_parser(name, help=f"{name} a host").add_argument("name")
    commands.add_parser("down", help="remove a run and all its hosts")
    commands.add_parser("address", help="print a host's address").add_argument("name")
    execute = commands.add_parser("exec", help="run a command in a host")
    execute.add_argument("name")
    execute.add_argument("words", nargs=argparse.REMAINDER)
    for sub in commands.choices.values():
        sub.add_argument("--run", default="lab", help="which run (default: lab)")
    commands.add_parser("list", help="list runs and hosts")
    commands.add_parser("prune", help="remove what interrupted runs left behind")
    commands.add_parser("doctor", help="say what is missing on this machine")
    commands.add_parser("supervise").add_argument("directory", type=Path)
    return top


def main() -> int:
    """Run one command; errors are one line on standard error."""
    args = parser().parse_args()
    try:
        if args.command == "supervise":
            return supervise(args.directory)
        if lines := missing():
            raise LabError("\n     ".join(lines))
        return act(args)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1


def act(args: argparse.Namespace) -> int:
    """Do what the command line says."""
    acts = {"doctor": well, "list": show, "prune": prune, "up": up, "down": down}
    acts.get(args.command, one_host)(args)
    return 0


def well(args: argparse.Namespace) -> None:
    """Say that nothing is missing."""
    sys.stdout.write("nothing is missing\n")


def show(args: argparse.Namespace) -> None:
    """List runs and hosts."""
    for run in Run.all():
        for host in run.hosts():
            sys.stdout.write(f"{run.name} {host.name} {host.address} {'up' if host.alive() else 'down'}\n")


def prune(args: argparse.Namespace) -> None:
    """Remove the runs that nobody works with any more."""
    for run in list(Run.all()):
        if run.abandoned():
            run.down()


def down(args: argparse.Namespace) -> None:
    """Remove a run, if there is one of that name."""
    if any(run.name == args.run for run in Run.all()):
        Run.find(args.run).down()


def up(args: argparse.Namespace) -> None:
    """Boot hosts and write their inventory."""
    run = Run.open(args.run)
    for name in args.names:
        run.up(name, args.suite)
    if args.inventory:
        args.inventory.parent.mkdir(parents=True, exist_ok=True)
        args.inventory.write_text(run.inventory(), encoding="utf-8")


def one_host(args: argparse.Namespace) -> None:
    """Do something with one host."""
    host = Run.find(args.run).host(args.name)
    if args.command == "address":
        sys.stdout.write(host.address + "\n")
    elif args.command == "exec":
        sys.stdout.write(host.execute(*(w for w in args.words if w != "--")))
    else:
        getattr(host, args.command)()


if __name__ == "__main__":
    sys.exit(main())
