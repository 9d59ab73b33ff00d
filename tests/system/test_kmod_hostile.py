# SPDX-License-Identifier: Apache-2.0
"""vpf.ko against a host that is absent, slow, forgetful or lies: a fake vpfd (control_peer.py) at the other end of the PF. One guest, with
memory debugging: a frame gets one counter and harms nothing, and everything works after. And a guest without a key."""

from __future__ import annotations

import secrets
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import control_peer
import driven
from bed import kmod
from bed.agent import wait_until
from bed.pci import PF
from bed.vm import VM, start_all
from control_peer import BYE, DENIED, EVENT, EVENT_ACK, GET, HELLO, HELLO_REPLY, MAGIC, REPLY, RESET, SET, STATS, Message, Peer

VFS = 3
DEVICE = "/sys/bus/pci/devices/0000:01:00.0"


class Bench:
    def __init__(self, vm: VM, peer: Peer):
        self.vm, self.peer = vm, peer

    def load(self) -> None:
        self.vm.load_vpf()
        driven.await_netdev(self.vm, "0000:01:00.0", 40)

    def counters(self) -> dict[str, int]:
        return driven.counters(self.vm, "vpf0")

    def set(self, vf: int, what: str, error: str | None = None) -> None:
        driven.set_vf(self.vm, "vpf0", vf, what, error)

    def vf(self, index: int) -> dict:
        return driven.vf(self.vm, "vpf0", index)

    def vlan(self, index: int) -> int:
        return self.vf(index)["vlan_list"][0].get("vlan", 0)

    def works(self) -> None:
        """A session, a request, an event: all as if nothing had been."""
        self.peer.well()
        wait_until(lambda: self.counters()["control_session_up"], 40, "a session")
        number = secrets.randbelow(4000) + 1
        self.set(0, f"vlan {number}")
        assert self.vlan(0) == number == self.peer.functions[1].vid
        self.peer.functions[2].max_rate = number
        seen = len(self.peer.received)
        sequence = self.peer.event(2)
        assert self.peer.await_message(EVENT_ACK, seen).sequence == sequence
        assert self.vf(1)["rate"]["max_tx"] == number

    def await_bad(self, cause: str, before: dict[str, int], by: int = 1) -> None:
        """Counted under its cause, and nowhere else."""
        name = f"control_bad_{cause}"
        wait_until(lambda: self.counters()[name] >= before[name] + by, 10, f"{name} to be counted")
        after = self.counters()
        assert {k: after[k] - before[k] for k in after if k.startswith("control_bad") and after[k] != before[k]} == {name: by}


@pytest.fixture(scope="module")
def machines(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, VM]]:
    logs = tmp_path_factory.mktemp("hostile")
    with tempfile.TemporaryDirectory(prefix="vpf-peer-") as directory:
        peer = Peer(Path(directory), VFS)
        others = [f"dgram,local.type=unix,local.path={directory}/vf{n},remote.type=unix,remote.path={directory}/no{n}" for n in range(VFS)]
        macs = [":".join(f"{byte:02x}" for byte in function.mac) for function in peer.functions]
        kernel = driven.DEBUGGING_KERNEL
        # Two keys, of which the other one comes first.
        keys = ["-smbios", f"type=11,value=vpf-key={secrets.token_hex(16)},value=vpf-key=nonsense,value=vpf-key={peer.key.hex()}"]
        vm = VM("hostile", kernel, 2, pfs=[PF("pf0", netdevs=[peer.netdev, *others], macs=macs)], args=keys, append=driven.boot_args(kernel), logs=logs / "hostile", boot_timeout=240)
        plain = VM("plain", "6.1", 1, pfs=[PF("pf0", netdevs=["user,restrict=on"] * 2)], logs=logs / "plain", boot_timeout=240)
        for name in (kernel, "6.1"):
            kmod.built(name)
        start_all(vm, plain)
        try:
            yield Bench(vm, peer), plain
        finally:
            vm.kill()
            plain.kill()
            peer.close()


@pytest.fixture
def bench(machines: tuple[Bench, VM], request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = machines[0]
    request.node.vpf_attachments = {"console": lambda: bench.vm.dmesg()}
    yield bench
    assert bench.vm.dmesg_warnings() == []


def test_no_key(machines: tuple[Bench, VM]) -> None:
    """Without a key the module loads, says why it does nothing, and has touched no NIC."""
    vm = machines[1]
    before = vm.run("ip -o link").stdout
    vm.load_vpf()
    assert "SMBIOS has no vpf key" in vm.dmesg()
    assert vm.run("ip -o link").stdout == before
    vm.sriov_numvfs(1)
    assert not vm.run(f"ls -d {DEVICE}/net {DEVICE}/virtfn0/net", check=False).stdout
    driven.unload(vm)
    assert vm.dmesg_warnings() == []


def test_absent_then_there(bench: Bench) -> None:
    """Without an answer the NIC is brought down again and left alone. Brought up when vpfd is there, it is taken over."""
    vm, peer = bench.vm, bench.peer
    peer.silent = {HELLO}
    vm.load_vpf()
    assert "a vpf key in SMBIOS is not 32 hexadecimal digits" in vm.dmesg()
    peer.await_message(HELLO)
    wait_until(lambda: "UP" not in driven.link(vm, "eth0")["flags"], 60, "the NIC to be put down")
    hellos = peer.count(HELLO)
    assert 5 <= hellos <= 10 and peer.forged > 0  # the other key's
    peer.well()
    vm.run("ip link set eth0 up")
    driven.await_netdev(vm, "0000:01:00.0")
    vm.sriov_numvfs(VFS)
    bench.works()


def test_version(bench: Bench) -> None:
    """A vpfd of another version: one log line however often it says so."""
    vm, peer = bench.vm, bench.peer
    driven.unload(vm)
    assert peer.received[-1].type == BYE
    peer.answer = lambda message, right: [peer.hello_reply(message, status=7, versions=(2, 5, 0))] if message.type == HELLO else [right]
    vm.load_vpf()
    seen = len(peer.received)
    peer.await_message(HELLO, seen)
    peer.await_message(HELLO, len(peer.received))
    driven.shell_until(vm, "dmesg | grep -q 'speaks versions 2 to 5'")
    assert vm.dmesg().count("speaks versions 2 to 5") == 1
    driven.unload(vm)
    peer.well()
    bench.load()
    bench.works()


def test_malformed(bench: Bench) -> None:
    """What is wrong with a frame is what it is counted under, and nothing answers it."""
    peer = bench.peer
    ack = struct.pack("<H6x", 1) + peer.functions[1].record()
    frames = {
        "length": [b"", b"VPF1", peer.make(EVENT, ack)[:31], peer.make(EVENT, ack, length=31), peer.make(EVENT, ack, length=1401),
                   peer.make(EVENT, ack, length=65535), peer.make(EVENT, bytes(1400))],
        "magic": [peer.make(EVENT, ack, magic=MAGIC + 1), bytes(1400)],
        "version": [peer.make(EVENT, ack, version=2), peer.make(EVENT, ack, version=0)],
        "tag": [peer.make(EVENT, ack, key=bytes(16)), peer.make(EVENT, ack)[:-1] + b"\xff"],
        "type": [peer.make(kind, b"") for kind in (0, HELLO, SET, 0x7F, 0x80, 0x85, 0xFF)] + [peer.make(0x85, b"", key=bytes(16))],
        "session": [peer.make(EVENT, ack, session=1, sequence=99), peer.make(REPLY, bytes(128)), peer.make(RESET, session=5),
                    peer.make(HELLO_REPLY, bytes(92)), peer.make(REPLY, bytes(128), session=0)],
        "value": [peer.make(EVENT, b"", sequence=90), peer.make(EVENT, ack + b"x", sequence=91), peer.make(EVENT, ack[:-1], sequence=92),
                  peer.make(EVENT, struct.pack("<H6x", 65535) + ack[8:], sequence=93),
                  peer.make(EVENT, struct.pack("<H6x", 0), sequence=94), peer.make(RESET, b"x"), peer.make(RESET, b"x", session=0)],
    }  # fmt: skip
    peer.event(1)
    for cause, bad in frames.items():
        before, seen = bench.counters(), len(peer.received)
        for message in bad:
            # Ethernet's padding makes a short one longer: these are sent as they are.
            peer.send_frame(peer.frame(message)[: 14 + len(message)] if cause == "length" else peer.frame(message))
        # Reply and HELLO_REPLY with bodies of zeros fail one check or another: their session is looked at first only where there is one.
        bench.await_bad(cause, before, len(bad)) if cause != "session" else wait_until(
            lambda before=before, bad=bad: sum(v for k, v in bench.counters().items() if k.startswith("control_bad")) >= sum(v for k, v in before.items() if k.startswith("control_bad")) + len(bad), 10, "the count")  # fmt: skip
        assert peer.received[seen:] == []
    bench.works()


def test_hostile_values(bench: Bench) -> None:
    """Records that cannot be: none of a frame that has one is believed. Others than there are VFs for are no matter."""
    peer, first = bench.peer, bench.peer.functions[1]
    good = control_peer.Function(2, first.mac, max_rate=777)
    wrong = [
        {"link": 3}, {"vlan_mode": 3}, {"vlan_mode": 1, "vid": 0}, {"vlan_mode": 1, "vid": 4095}, {"vid": 5}, {"vlan_mode": 1, "vid": 5, "pcp": 8},
        {"tpid": 0x9100}, {"mac": bytes(6)}, {"mac": bytes.fromhex("01005e000001")}, {"admin_mac": bytes.fromhex("ffffffffffff")}, {"max_rate": 1 << 31},
    ]  # fmt: skip
    for change in wrong:
        before, shown = bench.counters(), bench.vf(1)["rate"]
        bad = control_peer.Function(**{"number": 1, "mac": first.mac} | change)
        peer.event(2, 1, records=good.record() + bad.record(), sequence=5000)
        bench.await_bad("value", before)
        assert bench.vf(1)["rate"] == shown
    seen = len(peer.received)
    peer.event(0, records=control_peer.Function(65535, first.mac).record() + control_peer.Function(VFS + 1, first.mac).record(), count=2)
    peer.await_message(EVENT_ACK, seen)
    bench.works()


def test_events_old_and_again(bench: Bench) -> None:
    """One that comes again is acknowledged and not applied again; an older one is neither."""
    peer = bench.peer
    peer.functions[2].max_rate = 100
    seen, sequence = len(peer.received), peer.event(2)
    peer.await_message(EVENT_ACK, seen)
    peer.functions[2].max_rate = 50
    seen = len(peer.received)
    peer.event(2, sequence=sequence)
    assert peer.await_message(EVENT_ACK, seen).sequence == sequence
    before = bench.counters()
    peer.event(2, sequence=sequence - 1)
    bench.await_bad("session", before)
    assert bench.vf(1)["rate"]["max_tx"] == 100
    bench.works()


def test_lying_replies(bench: Bench) -> None:
    """Replies that do not fit the request are dropped; the right one, sent at last, counts. Unanswered, it fails in time, and so does asking for statistics."""
    peer = bench.peer
    record = lambda n: peer.functions[n].record()  # noqa: E731
    lies = lambda m: [  # noqa: E731
        peer.reply(m, 0, 1, [record(1)], request=GET), peer.reply(m, 0, 2, [record(2)]), peer.reply(m, 0, 1, [record(2)]),
        peer.reply(m, 0, 1, [record(1), record(2)]), peer.reply(m, 0, 1, []), peer.reply(m, 0, 1, [record(1)], count=65535),
        peer.reply(m, DENIED, 1, [record(1)]), peer.reply(m, 0, 1, [record(1)], sequence=m.sequence + 1), peer.reply(m, 0, 1, [record(1)], sequence=m.sequence - 1),
        peer.reply(m, 0, 1, [record(1)], request=SET ^ 0x40), peer.make(REPLY, bytes(127), m.session, m.sequence),
    ]  # fmt: skip
    before = bench.counters()
    peer.answer = lambda message, right: [*lies(message), right] if message.type == SET else [right]
    bench.set(0, "vlan 77")
    after = bench.counters()
    dropped = sum(after[k] - before[k] for k in after if k.startswith("control_bad"))
    assert dropped >= 11 and bench.vlan(0) == 77
    peer.answer = lambda message, right: lies(message) if message.type in (SET, STATS) else [right]
    started = time.monotonic()
    bench.set(0, "vlan 78", "timed out")
    assert 2.5 < time.monotonic() - started < 8
    wait_until(lambda: bench.counters()["control_session_up"], 20, "a session")
    started = time.monotonic()
    for _ in range(5):
        assert bench.vf(0)["stats"]["rx"]["packets"] in (0, 1001)
    assert time.monotonic() - started < 4
    assert bench.counters()["control_timeouts"] >= before["control_timeouts"] + 2
    bench.works()


def test_status_and_text(bench: Bench) -> None:
    """Each status is its errno, an unknown one EIO; the text goes to the log, but nothing in it that is not printable."""
    peer = bench.peer
    for status, error in {1: "not permitted", 2: "Invalid argument", 3: "No such file", 4: "not supported", 5: "File exists", 6: "Input/output", 65535: "Input/output"}.items():
        peer.status, peer.text = status, f"because of {status}".encode()
        bench.set(2, "vlan 5", error)
    assert "VF 2: VLAN 5 refused by the host: because of 1" in bench.vm.dmesg()
    time.sleep(5.2)  # the log's rate limit
    peer.status, peer.text = DENIED, b"\x1b[31mred\n<0>panic %s%n " + b"x" * 97
    bench.set(2, "vlan 6", "not permitted")
    assert "refused by the host: ?[31mred?<0>panic %s%n " + "x" * 97 in bench.vm.dmesg()
    bench.works()


def test_slow(bench: Bench) -> None:
    """A late answer is an answer, and the repeated requests have the same sequence; a second answer is dropped."""
    peer = bench.peer

    def late(message: Message, right: bytes) -> list[bytes]:
        if message.type == SET:
            time.sleep(0.4)
        return [right]

    seen = len(peer.received)
    peer.answer = late
    bench.set(0, "vlan 88")
    wait_until(lambda: len({m.sequence for m in peer.received[seen:] if m.type == SET}) == 1 and peer.count(SET) >= 2, 10, "repetitions")
    time.sleep(1.5)  # until it has answered them all
    bench.works()


def test_forgetful(bench: Bench) -> None:
    """The session is gone in the middle of a request: HELLO, and the same request in the new one. A flood of RESETs does not make one of HELLOs."""
    peer = bench.peer
    forgotten = []

    def forget(message: Message, right: bytes) -> list[bytes]:
        if message.type != SET or forgotten:
            return [right]
        forgotten.append(message.session)
        peer.session = 0
        peer.functions[1].vid = 0
        return [peer.make(RESET, session=message.session)]

    peer.answer = forget
    bench.set(0, "vlan 99")
    assert forgotten and peer.session not in (0, forgotten[0]) and bench.vlan(0) == peer.functions[1].vid == 99
    peer.well()
    before = peer.count(HELLO)
    for _ in range(500):
        peer.send(peer.make(RESET, session=0))
    started = time.monotonic()
    bench.works()
    assert peer.count(HELLO) - before <= 20 * (time.monotonic() - started + 3)


def test_flood(bench: Bench) -> None:
    """Thousands of frames, right and wrong, and the guest and its channel are there as before."""
    peer = bench.peer
    right = [peer.frame(peer.make(EVENT, struct.pack("<H6x", 1) + peer.functions[3].record(), sequence=peer.event_sequence + 1 + n)) for n in range(200)]
    junk = [peer.frame(secrets.token_bytes(secrets.randbelow(1500))) for _ in range(100)]
    for _ in range(15):
        for pair in zip(right, junk * 2, strict=True):
            for frame in pair:
                peer.send_frame(frame)
    peer.event_sequence += 200
    bench.works()


def test_other_ways_in(bench: Bench) -> None:
    """An authentic message in a VLAN, or through a VF, is none."""
    peer, vm = bench.peer, bench.vm
    vm.run("ip link set vpf0 up; for dev in /sys/class/net/eth*; do ip link set $(basename $dev) up; done")
    before = bench.counters()
    event = peer.make(EVENT, struct.pack("<H6x", 1) + control_peer.Function(1, peer.functions[1].mac, max_rate=4321).record(), sequence=peer.event_sequence + 1)
    peer.send_frame(peer.frame(event, tag=bytes.fromhex("81000005")))
    peer._socket.sendto(peer.frame(event, destination=b"\xff" * 6), str(peer.directory / "vf0"))
    bench.works()
    after = bench.counters()
    assert bench.vf(0)["rate"]["max_tx"] != 4321 and after["control_events"] == before["control_events"] + 1


def test_link_lost(bench: Bench) -> None:
    """Without carrier there is no session; with it one, at once."""
    vm = bench.vm
    vm.qmp("set_link", name="pf0", up=False)
    driven.shell_until(vm, '[ "$(cat /sys/class/net/vpf0/carrier)" = 0 ]')
    driven.await_session(vm, "vpf0", up=False)
    vm.qmp("set_link", name="pf0", up=True)
    driven.await_session(vm, "vpf0")
    driven.shell_until(vm, '[ "$(cat /sys/class/net/vpf0/carrier)" = 1 ]')
    bench.works()


def test_pf_record_link(bench: Bench) -> None:
    """The PF's link is down if vpfd says so, whatever its carrier."""
    peer, vm = bench.peer, bench.vm
    peer.functions[0].flags &= ~0x04
    peer.event(0)
    driven.shell_until(vm, '[ "$(cat /sys/class/net/vpf0/carrier)" = 0 ]')
    peer.functions[0].flags |= 0x04
    peer.event(0)
    driven.shell_until(vm, '[ "$(cat /sys/class/net/vpf0/carrier)" = 1 ]')
    bench.works()


def test_unload_while_asking(bench: Bench) -> None:
    """The module can go while a request waits for its answer, by devlink or by ip link."""
    vm, peer = bench.vm, bench.peer
    peer.silent = {SET}
    seen = len(peer.received)
    asking = vm.popen("devlink port function set pci/0000:01:00.0/1 hw_addr 02:00:00:00:00:01")
    peer.await_message(SET, seen)
    started = time.monotonic()
    driven.unload(vm)
    assert asking.wait(10).returncode != 0
    assert time.monotonic() - started < 8
    peer.well()
    bench.load()
    peer.silent = {SET}
    seen = len(peer.received)
    asking = vm.popen("ip link set vpf0 vf 0 vlan 5")
    peer.await_message(SET, seen)
    driven.unload(vm)
    assert asking.wait(10).returncode != 0
    peer.well()
    bench.load()
    bench.works()
