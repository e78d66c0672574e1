"""The lab's pure parts: names and numbers, arguments, and what a host learns of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lab import base, doctor, guest, machine, network, run, supervise
from lab.__main__ import parser
from lab.machine import Archive, Machine
from lab.process import Process
from lab.shell import LabError
from lab.state import write

INTERFACE_LENGTH = 15  # the kernel's limit
DEB822 = "Types: deb\nURIs: http://one.example/debian\nSuites: trixie\n\nURIs: http://one.example/debian-security/\n"
ONE_LINE = "# deb http://no.example/debian x main\ndeb [arch=amd64] https://two.example/debian bookworm main\n"


def test_the_lowest_free_number_is_taken() -> None:
    assert network.free_number({1, 2, 4}) == 3
    with pytest.raises(LabError, match="prune"):
        network.free_number(network.NUMBERS)


def test_a_removed_hosts_index_is_free_again() -> None:
    assert network.free_index({1, 3}) == 2
    with pytest.raises(LabError, match="another run"):
        network.free_index(network.HOSTS)


def test_every_name_fits_an_interface_and_leads_back_to_its_run() -> None:
    number, index = max(network.NUMBERS), max(network.HOSTS)
    name = network.machine(number, index)
    for made in (name, f"vb-{name}", network.bridge(number)):
        assert len(made) <= INTERFACE_LENGTH
        assert network.number_of(made) == number


@pytest.mark.parametrize("name", ["eth0", "lo", "olab", "vb-o1", "o1", "orchestrator-1", "vb-lead1", "olab1-x"])
def test_other_peoples_names_are_nobodys(name: str) -> None:
    assert network.number_of(name) is None


def test_addresses_lie_in_the_runs_subnet() -> None:
    highest = network.address(max(network.NUMBERS), max(network.HOSTS))
    assert network.numbers_of([highest]) == {max(network.NUMBERS)}
    assert network.address(7, 1) != network.gateway(7)


def test_addresses_and_routes_show_which_numbers_are_taken() -> None:
    seen = ["10.231.4.1/24", "10.231.9.0/24", "10.231.12.7", "192.0.2.2/24", "10.0.0.0/8", "default"]
    assert network.numbers_of(seen) == {4, 9, 12}


def test_every_rule_of_a_run_carries_its_mark() -> None:
    for rule in network.rules(23):
        found = network.RULE.search(" ".join(rule))
        assert found and found[1] == "23"


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a-", "-a", "a/b", "..", "a" * 32, "a b", "a\n"])
def test_names_that_cannot_be_host_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="is no name for a host"):
        run.checked(name, "host")


def test_names_of_hosts_are_taken_as_they_are() -> None:
    assert run.checked("hx-orchestrator-server", "host") == "hx-orchestrator-server"


def test_two_checkouts_have_runs_of_their_own() -> None:
    assert run.default_name(Path("/one")) == run.default_name(Path("/one")) != run.default_name(Path("/two"))
    run.checked(run.default_name(), "run")


def test_the_archive_is_found_in_both_forms_of_sources() -> None:
    assert machine.archive([DEB822]) == Archive("http://one.example/debian", "http://one.example/debian-security")
    assert machine.archive([ONE_LINE]) == Archive("https://two.example/debian", None)
    assert machine.archive(["", "deb http://x.example/ubuntu noble main"]) == Archive(None, None)


def test_sources_are_those_of_the_suite() -> None:
    assert Archive(None, None).lines("trixie") == []
    assert Archive("http://a.example/debian", "http://a.example/debian-security").lines("trixie") == [
        "deb http://a.example/debian trixie main",
        "deb http://a.example/debian trixie-updates main",
        "deb http://a.example/debian-security trixie-security main",
    ]


def test_hosts_get_proxies_and_checks_of_apt_and_nothing_else() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http "";\nAcquire::http::Proxy "http://p.example:3128";\n'
        'Acquire::Check-Date "false";\nDir::Cache "x";\n'
    )
    assert machine.apt_options(dump) == [
        'Acquire::http::Proxy "http://p.example:3128";',
        'Acquire::Check-Date "false";',
    ]


def test_hosts_get_indexes_and_proxies_and_no_path_of_this_machine() -> None:
    given = {
        "UV_DEFAULT_INDEX": "https://i.example/simple",
        "UV_EXTRA_INDEX_URL": "file:///srv/wheels",
        "https_proxy": "http://p.example:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ssl/private.crt",
        "API_TOKEN": "secret",
    }
    assert machine.variables(given).keys() == {"UV_DEFAULT_INDEX", "https_proxy", "NO_PROXY"}


def test_another_authority_is_another_base_image() -> None:
    """An image built before this machine got its authority could not reach the registries behind it."""
    one = Machine(Archive(None, None), [], {}, {}, "nameserver 192.0.2.1\n")
    two = Machine(Archive(None, None), [], {"ca.crt": "…"}, {}, "nameserver 192.0.2.1\n")
    other_resolver = Machine(Archive(None, None), [], {}, {}, "nameserver 192.0.2.2\n")
    assert base.name("trixie", one) != base.name("trixie", two)
    assert base.name("trixie", one) == base.name("trixie", other_resolver)
    assert base.name("trixie", one) != base.name("bookworm", one)


def test_nspawn_boots_the_hosts_own_tree_on_the_runs_bridge() -> None:
    command = supervise.nspawn(Path("/r/root"), "o1-2", "web", "olab1", Path("/c/uv"))
    assert command[0] == "systemd-nspawn"
    assert command[-1] == guest.INIT
    assert {"--directory=/r/root", "--machine=o1-2", "--hostname=web", "--network-bridge=olab1"} < set(command)
    assert {"--register=no", "--keep-unit", f"--bind=/c/uv:{guest.UV_CACHE}"} < set(command)


def test_the_doctor_names_tools_and_the_packages_that_bring_them() -> None:
    text = "\n".join(doctor.missing("/nowhere"))
    for tool, package in doctor.NEEDS.items():
        assert tool in text
        assert package in text.partition("apt-get install")[2]


def test_words_after_the_dashes_are_the_commands_own() -> None:
    args = parser().parse_args(["exec", "--run", "r", "web"])
    assert (args.run, args.name, args.words) == ("r", "web", [])
    args = parser().parse_args(["up", "a", "b", "--from", "x", "--suite", "bookworm"])
    assert (args.names, args.label, args.suite, args.run) == (["a", "b"], "x", "bookworm", run.default_name())


def test_a_process_survives_its_record() -> None:
    me = Process.of(os.getpid())
    assert me
    assert Process.load(me.record()) == me
    assert Process.load(None) is Process.load({}) is Process.load(7) is None


def test_a_supervisor_nobody_has_recorded_does_not_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who started it was killed before it wrote it down, and a later start has recorded another one."""
    monkeypatch.setattr(supervise, "STARTER_SECONDS", 0.05)
    write(tmp_path / "supervisor.json", Process(1, 0).record())
    assert supervise.supervise(tmp_path) == 1
