# SPDX-License-Identifier: Apache-2.0
"""The control channel from its driver's side, without a VM: frames that are forged, replayed, cut, of another version, in a flood or
from where none may come change nothing and are counted under their cause, while the driver of another VM's PF works. Then the
channel's own rules on a real vpfd: retries, events, restarts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import control_codec as codec
import frames
import pytest
from bed.agent import wait_until
from bed.machine import PATIENCE, need_tap
from bed.netns import run_on_host
from bed.vpfd import Vpfd
from control_codec import Message, Settings
from control_driver import Driver, key_of
from traffic import Function, add_functions
from vu_client import Port

WAITING = 8  # frames of a PF that wait for vpfd; more are dropped
DROPPED = ("malformed", "bad_version", "bad_tag", "unknown_session", "replayed")
OPEN_POLICY = {"vlans": "1-4094", "macs": "any", "trust": True, "spoofchk_off": True}


class Guest:
    """A virtual PF with a driver that is connected and has a session."""

    def __init__(self, vpfd: Vpfd, name: str, vfs: int = 3, **settings: object):
        self.vpfd, self.name = vpfd, name
        self.vfs = add_functions(vpfd, name, vfs, policy=OPEN_POLICY, **settings)
        self.pf = Function(vpfd, name, None)
        self.port: Port = self.pf.port()
        self.driver = Driver(self.port, key_of(self.pf.socket))
        self.driver.start()

    def control(self) -> dict:
        return self.vpfd.rpc("pf.show", name=self.name)["control"]

    def counters(self) -> dict[str, int]:
        return self.control()["counters"]

    def settle(self) -> None:
        """What was sent before has been dealt with: frames of a PF keep their order."""
        assert self.driver.get(0, 1).status == codec.OK

    def check(self) -> None:
        """The session is there, and what it asks for is done."""
        rate = 1 + self.driver.sequence % 1000
        assert self.driver.set(0, rate=(0, rate)).functions[0].max_rate == rate
        assert self.vfs[0].show()["max_rate"] == rate


class Site:
    def __init__(self, vpfd: Vpfd):
        need_tap()
        self.vpfd = vpfd
        self.tap = f"vpfc{os.getpid() % 100000}"
        vpfd.rpc("fabric.add", name="lan", uplink={"type": "tap", "name": self.tap})
        run_on_host(f"sysctl -qw net.ipv6.conf.{self.tap}.disable_ipv6=1; ip link set {self.tap} up")
        self.bad, self.good = Guest(vpfd, "bad"), Guest(vpfd, "good")

    def check(self) -> None:
        self.bad.check()
        self.good.check()

    def uplink_drops(self) -> int:
        """Control frames from outside that were dropped."""
        (row,) = (row for row in self.vpfd.rpc("stats", fabric="lan") if "uplink" in row)
        return row["tx"]["drops"].get("control", 0)


@pytest.fixture
def site(vpfd_factory: Callable[..., Vpfd]) -> Iterator[Site]:
    site = Site(vpfd_factory(args=["--workers", "2"]))
    yield site
    for guest in (site.bad, site.good):
        guest.port.close()


# -- bad frames


def rate(driver: Driver, **options: object) -> bytes:
    """A SET that would show if it were carried out."""
    return driver.frame(codec.SET, Settings(2, rate=(0, 666)).pack(), sequence=driver.sequence + 1, **options)


def replayed_request(site: Site) -> list[bytes]:
    driver = site.bad.driver
    old = driver.frame(codec.SET, Settings(2, rate=(0, 5)).pack(), sequence=driver.sequence + 1)
    driver.send(old)
    driver.sequence += 1
    driver.reply_to(driver.sequence, codec.SET)
    assert driver.set(1, rate=(0, 0)).status == codec.OK
    return [old]


def own_hello_again(site: Site) -> list[bytes]:
    """Of the session that is active: recorded when it began."""
    driver, recorded = site.bad.driver, []
    send = driver.port.send_frame
    driver.port.send_frame = lambda *out: (recorded.extend(out), send(*out))  # type: ignore[method-assign]
    driver.start()
    del driver.port.send_frame
    return recorded[:1]


def cut(driver: Driver) -> list[bytes]:
    """Every length that an Ethernet frame with a header in it can be cut to, and a message longer than its frame."""
    whole = rate(driver, pad=0)
    return [whole[:length] for length in range(14, len(whole), 7)] + [rate(driver, length=length) for length in (0, 31, 61, 1400, 65535)]


BAD_FRAMES: dict[str, tuple[Callable[[Site], list[bytes]], str]] = {
    "forged tag": (lambda s: [rate(s.bad.driver, tag=tag) for tag in (0, 1, (1 << 64) - 1)], "bad_tag"),
    "another VM's key": (lambda s: [codec.encode(s.good.driver.key, Message(codec.HELLO, body=codec.hello(7)))], "bad_tag"),
    "changed on the way": (lambda s: [flip(rate(s.bad.driver), offset) for offset in range(22, 74, 5)], "bad_tag"),
    "replayed request": (replayed_request, "replayed"),
    "replayed hello": (own_hello_again, "replayed"),
    "acknowledgement of nothing": (lambda s: [s.bad.driver.frame(codec.EVENT_ACK, sequence=9)], "replayed"),
    "cut": (lambda s: cut(s.bad.driver), "malformed"),
    "no message": (lambda s: [codec.GROUP + bytes(6) + b"\x88\xb5" + b"\xff" * 46], "malformed"),
    "unknown version": (lambda s: [rate(s.bad.driver, version=version) for version in (0, 2, 255)], "bad_version"),
    "vpfd's own type": (lambda s: [s.bad.driver.frame(kind, bytes(128), sequence=99) for kind in range(0x81, 0x85)], "malformed"),
    "another PF's session": (lambda s: [s.bad.driver.frame(codec.GET, codec.request_range(0, 1), session=s.good.driver.session, sequence=9)], "unknown_session"),
    "body too long": (lambda s: [s.bad.driver.frame(codec.BYE, b"x"), s.bad.driver.frame(codec.SET, bytes(29), sequence=99)], "malformed"),
}  # fmt: skip


def flip(frame: bytes, offset: int) -> bytes:
    return frame[:offset] + bytes([frame[offset] ^ 1]) + frame[offset + 1 :]


def check_dropped(before: dict[str, int], after: dict[str, int], expected: dict[str, int]) -> None:
    """So many frames were dropped meanwhile, by cause. On a busy machine an event is sent again before its acknowledgement is there,
    and then the second one is of the past."""
    by = {counter: after[counter] - before[counter] for counter in DROPPED}
    wanted = {counter: expected.get(counter, 0) for counter in DROPPED}
    again = after["event_retries"] - before["event_retries"]
    assert wanted["replayed"] <= by["replayed"] <= wanted["replayed"] + again
    assert {**by, "replayed": 0} == {**wanted, "replayed": 0}


def test_bad_frames(site: Site) -> None:
    """Each is counted under its cause, and answered by nothing but a RESET where the session is unknown."""
    for name, (make, cause) in BAD_FRAMES.items():
        print(name)
        bad = make(site)
        site.bad.settle()
        before, shown = site.bad.counters(), site.bad.vfs[1].show()
        batches = [bad[i : i + WAITING // 2] for i in range(0, len(bad), WAITING // 2)]
        for batch in batches:
            site.bad.driver.send(*batch)
            site.bad.settle()
        after = site.bad.counters()
        check_dropped(before, after, {cause: len(bad)})
        assert after["resets"] - before["resets"] == (cause == "unknown_session"), name
        assert after["requests"] - before["requests"] == after["replies"] - before["replies"] == len(batches), name
        assert site.bad.vfs[1].show() == shown, name
        site.check()
    check_dropped(dict.fromkeys(before, 0), site.good.counters(), {})


def test_unknown_request_is_answered(site: Site) -> None:
    reply = site.bad.driver.request(0x42, b"of a newer driver")
    assert reply.status == codec.UNSUPPORTED and reply.text
    site.check()


def test_from_where_none_may_come(site: Site) -> None:
    """From a VF and from the uplink, though they are right in every other way; and what a PF sends is never switched."""
    vf, listener = site.bad.vfs[2].port(), site.good.vfs[0].port()
    inside, outside = (site.bad.vfs[2].mac, site.good.vfs[0].mac), "02:00:00:00:0e:01"
    before, uplink = site.bad.counters(), site.uplink_drops()
    hello = site.bad.driver.frame(codec.HELLO, codec.hello(99), session=0)
    with frames.Wire(site.tap, ethertype=codec.ETHERTYPE) as wire, frames.Wire(site.tap) as other:
        bad = [hello, rate(site.bad.driver), *(to(mac, hello) for mac in (frames.BROADCAST, site.bad.pf.mac, outside))]
        vf.send_frame(*bad)
        assert site.bad.vfs[2].drops("tx", "control") == len(bad)
        # To anybody, from the PF: it is vpfd's all the same.
        strange = [to(mac, rate(site.bad.driver, tag=1)) for mac in (frames.BROADCAST, outside, *inside)]
        site.bad.driver.send(*strange)
        site.bad.settle()
        after = site.bad.counters()
        assert after["bad_tag"] - before["bad_tag"] == len(strange)
        assert after["hello"] == before["hello"]
        # A frame of another kind arrives where those would have, and it is the first.
        marker = frames.eth(frames.BROADCAST, inside[0], b"marker")
        vf.send_frame(marker)
        assert listener.receive() == marker and other.receive() == marker
        with pytest.raises(TimeoutError):
            wire.receive(timeout=0)
        wire.send(*bad)
        other.send(frames.eth(inside[1], outside, b"last"))
        assert listener.receive()[14:18] == b"last"
        # Another flow may come through another queue of the tap.
        wait_until(lambda: site.uplink_drops() == uplink + len(bad))
        assert not listener.control and not vf.control and site.bad.counters()["hello"] == before["hello"]
    site.check()
    for port in (vf, listener):
        port.close()


def to(mac: str, frame: bytes) -> bytes:
    return frames.mac(mac) + frame[6:]


# -- floods


FLOODS: dict[str, Callable[[Driver], bytes]] = {
    "hello": lambda driver: driver.frame(codec.HELLO, codec.hello(1), session=0),
    "junk": lambda driver: codec.GROUP + bytes(6) + b"\x88\xb5" + bytes(1486),
}


def test_flood(site: Site) -> None:
    """The other VM's driver works meanwhile as if there were none; the flooder is limited, and works when it stops."""
    for name, make in FLOODS.items():
        frame, before = make(site.bad.driver), site.bad.counters()
        full = site.bad.pf.drops("tx", "control_full")
        end, sent = threading.Event(), [0]

        def flood(frame: bytes = frame, end: threading.Event = end, sent: list[int] = sent) -> None:
            while not end.is_set():
                site.bad.port.send_frame(*[frame] * 32)
                sent[0] += 32

        thread = threading.Thread(target=flood, daemon=True)
        begin = time.monotonic()
        thread.start()
        try:
            slowest = 0.0
            while time.monotonic() < begin + 1 or (site.bad.counters()["limited"] == before["limited"] and time.monotonic() < begin + 20 * PATIENCE):
                asked = time.monotonic()
                site.good.check()
                slowest = max(slowest, time.monotonic() - asked)
        finally:
            end.set()
            thread.join(10)
        seconds = time.monotonic() - begin
        after = site.bad.counters()
        taken = after["frames"] - before["frames"]
        assert taken <= 256 + 1000 * seconds + 32, f"{name}: {taken} frames in {seconds} s"
        assert after["limited"] > before["limited"], f"{name}: {sent[0]} frames in {seconds} s"
        dropped = site.bad.pf.drops("tx", "control_full") - full
        assert taken + dropped >= sent[0] - WAITING, f"{name}: {sent[0]} frames, {taken} were taken and {dropped} dropped"
        assert slowest < PATIENCE, f"{name}: a request of another VM took {slowest} s"
        while site.bad.port.control:  # answers
            site.bad.port.receive_control(0)
        retry(site.bad.driver, codec.GET, codec.request_range(0, 1))
        site.check()


def retry(driver: Driver, kind: int, body: bytes) -> codec.Reply:
    """A request as a driver makes it whose frames may be dropped."""
    driver.sequence += 1
    for wait in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2):
        driver.send(driver.frame(kind, body, sequence=driver.sequence))
        try:
            return driver.reply_to(driver.sequence, kind, wait)
        except TimeoutError:
            continue
    raise TimeoutError("no reply")


# -- the rules


def test_a_retry_is_carried_out_once(site: Site) -> None:
    """And a repeated answer tells how things are, not how they were."""
    driver = site.bad.driver
    driver.sequence += 1
    frame = driver.frame(codec.SET, Settings(2, rate=(0, 77)).pack(), sequence=driver.sequence)
    for expected in (77, 0, 0):
        driver.send(frame)
        reply = driver.reply_to(driver.sequence, codec.SET)
        assert reply.status == codec.OK and reply.functions[0].max_rate == expected
        site.bad.vfs[1].set(max_rate=0)  # which doing it again would undo
    assert site.bad.counters()["repeated"] == 2 and site.bad.vfs[1].show()["max_rate"] == 0


def test_settings_both_ways(site: Site) -> None:
    """What the guest sets the host sees, and the other way round, every setting."""
    driver, vf = site.bad.driver, site.bad.vfs[1]
    mac = "02:00:00:00:77:01"
    reply = driver.set(1, mac=mac, vlan=(100, 3, 0x8100), rate=(0, 50), spoofchk=0, trust=1, link=codec.LINK_DISABLE)
    assert reply.status == codec.OK, reply.text
    shown = vf.show()
    assert shown["admin_mac"] == mac and shown["vlan"] == {"mode": "access", "vid": 100, "pcp": 3, "proto": "802.1q"}
    assert (shown["spoofchk"], shown["trust"], shown["link"], shown["max_rate"]) == (False, True, "disable", 50)
    vf.set(mac="00:00:00:00:00:00", vlan={"mode": "trunk", "vids": "5,6"}, spoofchk=True, trust=False, link="enable", pinned=["mac"])
    while driver.functions[2].link != codec.LINK_ENABLE or not driver.functions[2].flags & codec.F_LINK_UP:
        driver.await_event()
    now = driver.functions[2]
    assert (now.admin_mac, now.vlan_mode, now.vid, now.pinned) == ("00:00:00:00:00:00", codec.VLAN_TRUNK, 0, codec.MAC)
    assert now.flags == codec.F_SPOOFCHK | codec.F_LINK_UP and now.max_rate == 50
    assert driver.set(1, mac=mac).status == codec.DENIED
    assert driver.set(1, vlan=(0, 0, 0x8100)).status == codec.OK and vf.show()["vlan"] == {"mode": "none"}
    vf_port = vf.port()
    while not driver.functions[2].flags & codec.F_STARTED:
        driver.await_event()
    assert driver.stats(2, 1).stats[0]["function"] == 2
    vf_port.close()


def test_what_a_datapath_cannot_enforce(site: Site) -> None:
    """The policy would let the guest, but the VF's switch is not vpfd's."""
    driver, vf = site.bad.driver, site.bad.vfs[1]
    vf.set(spoofchk=False, datapaths=[{"type": "vhost-user", "path": "/nowhere/{vf}"}])
    for what, setting in ("a VLAN", {"vlan": (100, 0, 0x8100)}), ("the spoof check", {"spoofchk": 1}), ("a maximum rate", {"rate": (0, 9)}):
        reply = driver.set(1, **setting)
        assert reply.status == codec.UNSUPPORTED
        assert f"the host's datapath vhost-user cannot enforce {what}" in reply.text and "/nowhere" not in reply.text
    assert vf.show()["vlan"] == {"mode": "none"} and not vf.show()["spoofchk"]
    vf.set(spoofchk=True, datapaths=None)
    reply = driver.set(1, vlan=(100, 0, 0x8100))
    assert reply.status == codec.OK, reply.text


def test_events_come_until_they_are_acknowledged(site: Site) -> None:
    driver = site.bad.driver
    site.bad.vfs[0].set(max_rate=11)
    first = codec.decode(driver.key, site.bad.port.receive_control())
    site.bad.vfs[0].set(max_rate=12)
    again = codec.decode(driver.key, site.bad.port.receive_control())
    assert first.type == again.type == codec.EVENT and first.sequence == again.sequence
    assert codec.unpack_event(first.body)[0].max_rate == 11
    assert codec.unpack_event(again.body)[0].max_rate == 12
    driver.send(driver.frame(codec.EVENT_ACK, sequence=first.sequence))
    last = codec.decode(driver.key, site.bad.port.receive_control())
    assert last.sequence == first.sequence + 1 and codec.unpack_event(last.body)[0].max_rate == 12
    driver.send(driver.frame(codec.EVENT_ACK, sequence=last.sequence))
    site.check()
    assert site.bad.counters()["event_retries"] >= 1


def test_whatever_the_pf_is_set_to(site: Site) -> None:
    """The channel is there when the PF itself has no link, a VLAN, hardly any rate, and a policy that allows nothing."""
    site.bad.pf.set(link="disable", vlan={"mode": "access", "vid": 7}, max_rate=1)
    before = site.bad.pf.stats()
    for _ in range(20):
        site.bad.settle()
    after = site.bad.pf.stats()
    assert before["tx"] == after["tx"] and before["rx"] == after["rx"]  # it counts as none of the PF's traffic
    site.vpfd.rpc("pf.set", name="bad", policy={"guest_control": False})
    reply = site.bad.driver.set(0, trust=1)
    assert reply.status == codec.DENIED and "guest_control" in reply.text
    site.good.check()


def test_guest_without_buffers(site: Site) -> None:
    """Replies that the guest has no room for are asked for again; the change is made once."""
    guest = Guest(site.vpfd, "poor")
    guest.port.close()
    port = guest.pf.port(fill=False)
    driver = Driver(port, guest.driver.key)
    driver.session, driver.sequence = guest.driver.session, guest.driver.sequence + 1
    before = guest.counters()
    frame = driver.frame(codec.SET, Settings(1, rate=(0, 88)).pack(), sequence=driver.sequence)
    driver.send(frame)
    while guest.counters()["unsent"] == before["unsent"]:
        site.good.settle()
    port.fill()
    driver.send(frame)
    reply = driver.reply_to(driver.sequence, codec.SET)
    assert reply.status == codec.OK and guest.counters()["repeated"] == 1
    port.close()


def test_versions(site: Site) -> None:
    reply = site.bad.driver.hello(versions=(2, 9))
    assert (reply.status, reply.min_version, reply.max_version) == (codec.VERSION_UNKNOWN, 1, 1)
    site.bad.driver.start()
    site.check()


def test_driver_comes_and_goes(site: Site) -> None:
    """BYE; a VM that is reset, with a session that goes on meanwhile; two drivers in turn."""
    assert site.bad.control()["session"] and site.bad.control()["driver"] == "0.1.0"
    site.bad.driver.bye()
    site.good.settle()
    assert site.bad.driver.hello().status == codec.OK  # after the BYE
    assert not site.bad.control()["session"] and site.bad.control()["driver"] is None
    site.bad.driver.start()
    old = site.bad.driver.session
    site.bad.port.close()
    site.bad.port = site.bad.pf.port()
    site.bad.driver = Driver(site.bad.port, site.bad.driver.key)
    site.bad.driver.start()
    site.check()
    site.bad.driver.send(site.bad.driver.frame(codec.GET, codec.request_range(0, 1), session=old, sequence=99))
    assert site.bad.driver.receive(codec.RESET).session == old
    site.check()
    # Nobody comes back: the session ends, and the next driver is asked for a HELLO.
    events = site.vpfd.rpc_client()
    events("events.subscribe", topics=["control"])
    site.bad.port.close()
    while (event := events.wait_notification("event"))["event"] != "lost":
        pass
    assert event["pf"] == "bad" and not site.bad.control()["session"]
    site.bad.port = site.bad.pf.port()
    site.bad.driver = Driver(site.bad.port, site.bad.driver.key)
    # The old vpfd may not have seen the driver's last ACK: the new one reads that from the ring, and first answers it.
    while session := site.bad.driver.receive(codec.RESET).session:
        assert session == site.bad.driver.session
    site.bad.driver.start()
    site.check()
    events.close()


def test_restart_of_vpfd(site: Site) -> None:
    """What was acknowledged is there, and drivers find the new vpfd at once."""
    assert site.bad.driver.set(1, rate=(0, 123), trust=1).status == codec.OK
    site.vpfd.kill()
    site.vpfd.start()
    run_on_host(f"ip link set {site.tap} up")
    for guest in (site.bad, site.good):
        guest.port.reconnect()
    # The old vpfd may not have seen the driver's last ACK: the new one reads that from the ring, and first answers it.
    while session := site.bad.driver.receive(codec.RESET).session:
        assert session == site.bad.driver.session
    site.bad.driver.start()
    now = site.bad.driver.functions[2]
    assert now.max_rate == 123 and now.flags & codec.F_TRUST
    # A driver that has not heard of it finds out with its next request.
    site.good.port.control.clear()
    site.good.driver.send(site.good.driver.frame(codec.GET, codec.request_range(0, 1), sequence=99))
    while site.good.driver.receive(codec.RESET).session != site.good.driver.session:
        pass
    site.good.driver.start()
    site.check()


def test_255_vfs(site: Site) -> None:
    """All functions in few messages, and news of all of them."""
    guest = Guest(site.vpfd, "big", vfs=255)
    assert sorted(guest.driver.functions) == list(range(256))
    assert guest.counters()["requests"] == 8  # 34 records each
    site.vpfd.rpc("pf.set", name="big", mtu=1400)
    while any(f.mtu != 1400 for f in guest.driver.functions.values()):
        guest.driver.await_event()
    assert guest.counters()["events"] <= 14
    seen: list[int] = []
    while len(seen) < 256:
        seen += [s["function"] for s in guest.driver.stats(len(seen), 256).stats]
    assert seen == list(range(256))
    guest.check()
    guest.port.close()
