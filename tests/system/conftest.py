# SPDX-License-Identifier: Apache-2.0
"""Fixtures over the test bed. What a failed test's machines and daemon said is attached to its report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("attacked", "driven", "kube", "topology", "vpfctl_env")

from bed import machine, paths  # noqa: E402
from bed.l1 import L1  # noqa: E402
from bed.netns import Netns  # noqa: E402
from bed.vm import VM  # noqa: E402
from bed.vpfd import Vpfd  # noqa: E402
from fake_vpfd import FakeVpfd  # noqa: E402
from vpfctl_env import METHODS  # noqa: E402

ATTACHED_LINES = 60
# Side by side, what takes longest starts first: groups of tests as pytest_collection_modifyitems() names them.
LONGEST = ("large", "test_kmod.py", "test_guest.py", "test_kube.py", "test_lifecycle.py", "test_datapath_guest.py", "test_offloads.py", "test_qmp.py", "test_bed.py", "test_restart.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", action="append", choices=paths.KERNELS, help="guest kernels of tests over all kernels")
    parser.addoption("--accel", choices=["kvm", "tcg"], help="accelerator of guests (default: KVM if a guest runs on it)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "by_kernel: the module's guests of different kernels can run side by side")
    config.addinivalue_line("markers", "all_shapes: for each shape of guest, not only the largest")
    config.addinivalue_line("markers", "kernels(*names): the guest kernels that the `kernel` fixture stands for, else all")
    if accel := config.getoption("--accel"):
        import os

        os.environ["VPF_ACCEL"] = accel


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` stands for."""
    return machine.side_by_side()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("kernels")
        names = marker.args if marker else paths.KERNELS
        wanted = metafunc.config.getoption("--kernel")
        metafunc.parametrize("kernel", [name for name in names if not wanted or name in wanted])


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For pytest-xdist with --dist loadgroup. Tests of a file share fixtures and often have an order, so a file is a group, or
    several, one for each kernel; tests whose guests are large take turns (@pytest.mark.xdist_group("large"))."""
    if not hasattr(config, "workerinput"):
        return
    names = {}
    for item in items:
        if marker := item.get_closest_marker("xdist_group"):
            names[item] = marker.args[0]
            continue
        names[item] = item.path.name
        if item.get_closest_marker("by_kernel") and hasattr(item, "callspec"):
            kernels = [value for value in _flat(item.callspec.params.values()) if value in paths.KERNELS]
            names[item] += f"-{kernels[0]}" if kernels else ""
        item.add_marker(pytest.mark.xdist_group(names[item]))

    def turn(item: pytest.Item) -> int:
        places = [place for place, prefix in enumerate(LONGEST) if names[item].startswith(prefix)]
        return places[0] if places else len(LONGEST)

    items.sort(key=turn)  # stable: within a group nothing changes


def _flat(values: Iterable[object]) -> Iterator[object]:
    for value in values:
        if isinstance(value, tuple):
            yield from value
        else:
            yield value


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, text in getattr(item, "vpf_attachments", {}).items():
            try:
                tail = "\n".join(text().splitlines()[-ATTACHED_LINES:])
            except Exception as error:  # noqa: BLE001 — the report must come out whatever state the test left
                tail = f"(not to be had: {error})"
            report.sections.append((name, tail))


def _attach(request: pytest.FixtureRequest, name: str, text: Callable[[], str]) -> None:
    if not hasattr(request.node, "vpf_attachments"):
        request.node.vpf_attachments = {}
    request.node.vpf_attachments[name] = text


@pytest.fixture(scope="session")
def bed() -> Path:
    """The bed's directory. A missing bed fails the test: what is not tested is not known to work."""
    try:
        return paths.bed_dir()
    except paths.BedMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def vm_factory(bed: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., VM]]:
    """vm_factory("name", kernel=..., pfs=[...], …, start=True) -> a booted VM, ended with the test."""
    vms: list[VM] = []

    def make(name: str = "vm", *args: object, start: bool = True, cls: type[VM] = VM, **kwargs: object) -> VM:
        vm = cls(name, *args, logs=tmp_path / f"vm-{len(vms)}-{name}", **kwargs)
        vms.append(vm)
        _attach(request, f"console of {name}", lambda: vm.console)
        return vm.start() if start else vm

    yield make
    for vm in reversed(vms):
        vm.kill()


@pytest.fixture
def l1_factory(vm_factory: Callable[..., VM]) -> Callable[..., L1]:
    """As vm_factory, for hypervisor guests."""
    return lambda name="l1", **kwargs: vm_factory(name, cls=L1, **kwargs)


@pytest.fixture
def vpfd_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Vpfd]]:
    """vpfd_factory(args=[...], start=True) -> a vpfd; those that still run at the end of a test must end well."""
    daemons: list[Vpfd] = []

    def make(start: bool = True, **kwargs: object) -> Vpfd:
        vpfd = Vpfd(tmp_path / f"vpfd-{len(daemons)}", **kwargs)
        daemons.append(vpfd)
        _attach(request, f"log of vpfd {len(daemons) - 1}", vpfd.output)
        _attach(request, f"counters of vpfd {len(daemons) - 1}", lambda: vpfd.ctl("stats", timeout=5).stdout)
        return vpfd.start() if start else vpfd

    yield make
    try:
        for vpfd in reversed(daemons):
            if vpfd.process:
                vpfd.stop()
    finally:
        for vpfd in daemons:
            vpfd.close()


@pytest.fixture
def vpfd(vpfd_factory: Callable[..., Vpfd]) -> Vpfd:
    return vpfd_factory()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeVpfd]:
    """A scripted server in vpfd's place, for vpfctl."""
    with FakeVpfd(tmp_path / "vpfd.sock", dict(METHODS)) as server:
        yield server


@pytest.fixture
def netns_factory() -> Iterator[Callable[[str], Netns]]:
    """netns_factory("left") -> a network namespace of the host, deleted with the test."""
    spaces: list[Netns] = []

    def make(name: str = "ns") -> Netns:
        spaces.append(Netns(name))
        return spaces[-1]

    yield make
    for space in reversed(spaces):
        space.close()
