"""What the commands do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import doctor, inventory, snapshot, strays
from lab.host import Host
from lab.run import Run, checked


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def one(args: argparse.Namespace) -> Iterator[Host]:
    """Give the host it is about; nobody else changes its run meanwhile."""
    run = Run.find(args.run)
    with run.alone():
        yield run.host(args.name)


def up(args: argparse.Namespace) -> None:
    """Boot hosts; make those that do not exist; leave alone those that run."""
    for name in args.names:
        checked(name, "host")
    run = Run.open(args.run, args.owner)
    with run.alone():
        hosts = [run.place(name, args.suite, args.label) for name in args.names]
        inventory.write(run, args.inventory)
        for host, _ in hosts:
            host.start()
        for host, made in hosts:
            host.wait()
            say(f"{run.name} {host.name} {host.address} {'made' if made else 'up'}")


def down(args: argparse.Namespace) -> None:
    """Remove hosts; without names the whole run. It goes with its last host."""
    if args.run not in {run.name for run in Run.all()}:
        say(f"no run {args.run}: nothing to remove")
        return
    run = Run.find(args.run)
    with run.alone():
        for name in args.names:
            run.host(name).destroy()
        if args.names and run.hosts():
            inventory.write(run, None)
        else:
            run.down()


def start(args: argparse.Namespace) -> None:
    """Boot a host that is down."""
    with one(args) as host:
        host.start()
        host.wait()


def stop(args: argparse.Namespace) -> None:
    """Shut a host down in order."""
    with one(args) as host:
        host.stop()


def crash(args: argparse.Namespace) -> None:
    """Cut a host's power."""
    with one(args) as host:
        host.crash()


def reboot(args: argparse.Namespace) -> None:
    """Have a host reboot itself; wait until it is up again."""
    with one(args) as host:
        host.reboot()


def partition(args: argparse.Namespace) -> None:
    """Cut a host off the network."""
    with one(args) as host:
        host.partition()


def heal(args: argparse.Namespace) -> None:
    """Connect a host again."""
    with one(args) as host:
        host.heal()


def take(args: argparse.Namespace) -> None:
    """Keep the state of a host under a label, for `up --from`."""
    with one(args) as host:
        snapshot.take(Run.find(args.run).directory, host, checked(args.label, "snapshot"))


def execute(args: argparse.Namespace) -> None:
    """Become a command in a host, past its network and its sshd."""
    command = Run.find(args.run).host(args.name).inside(*(args.words or ["bash", "-l"]))
    os.execvp(command[0], command)  # noqa: S606 - a list of arguments, no shell


def address(args: argparse.Namespace) -> None:
    """Print a host's address."""
    say(Run.find(args.run).host(args.name).address)


def show(args: argparse.Namespace) -> None:
    """List runs and hosts."""
    for run in Run.all():
        for host in run.hosts():
            state = "incomplete" if not host.complete else "up" if host.alive() else "down"
            say(f"{run.name} {host.name} {host.address} {state}")


def prune(args: argparse.Namespace) -> None:
    """Remove what interrupted runs have left behind."""
    for what in strays.prune():
        say(f"removed {what}")


def well(args: argparse.Namespace) -> None:
    """Say what is missing on this machine."""
    say("nothing is missing")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "up": up,
    "down": down,
    "start": start,
    "stop": stop,
    "crash": crash,
    "reboot": reboot,
    "partition": partition,
    "heal": heal,
    "snapshot": take,
    "exec": execute,
    "address": address,
    "list": show,
    "prune": prune,
    "doctor": well,
}


def run_command(args: argparse.Namespace) -> None:
    """Do it, once the machine has what it takes."""
    doctor.require()
    COMMANDS[args.command](args)
