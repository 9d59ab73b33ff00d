#!/usr/bin/python3 -ISE
# SPDX-License-Identifier: Apache-2.0
"""Traffic of the system tests, in guests and on the host: every byte is verified, every frame can be made by hand.

    serve PORT                                  TCP and UDP; answers each block or datagram with its digest
    tcp ADDRESS PORT BLOCKS FLOWS               sends blocks and compares the digests
    stream ADDRESS PORT                         the same without end; a line for each block that arrived
    udp ADDRESS PORT COUNT SIZE SEGMENT         datagrams; SEGMENT > 0: SIZE bytes at once, cut by UDP_SEGMENT
    raw IFNAME DST SRC ETHERTYPE TEXT COUNT     frames by hand
    listen IFNAME ETHERTYPE                     a line for each frame that arrives
    flood ADDRESS                               datagrams to nobody, without end
    vlan IFNAME TAP VID TPID                    a tap that stands for a VLAN of IFNAME
"""

import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import sys
import threading

BLOCK = 256 * 1024
TIMEOUT = 60
UDP_SEGMENT = 103  # linux/udp.h
SOL_PACKET, PACKET_AUXDATA = 263, 8
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000


def say(*words):
    print(*words, flush=True)


def digest(data):
    return hashlib.sha256(data).digest()


def receive(sock, size):
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        n = sock.recv_into(view[got:])
        if n == 0:
            raise EOFError
        got += n
    return data


def serve_connection(sock):
    try:
        while True:
            (size,) = struct.unpack("!I", receive(sock, 4))
            sock.sendall(digest(receive(sock, size)))
    except (EOFError, OSError):
        sock.close()


def serve(port):
    tcp = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    udp.bind(("::", int(port)))
    say("serving")
    while True:
        ready, _, _ = select.select([tcp, udp], [], [])
        if tcp in ready:
            threading.Thread(target=serve_connection, args=(tcp.accept()[0],), daemon=True).start()
        if udp in ready:
            data, peer = udp.recvfrom(65536)
            udp.sendto(digest(data), peer)


def blocks(seed):
    """Different blocks without end; making them costs little."""
    content = bytearray(random.Random(seed).randbytes(BLOCK))
    number = 0
    while True:
        struct.pack_into("!Q", content, number * 1021 % (BLOCK - 8), number)
        number += 1
        yield bytes(content)


def exchange(sock, block):
    sock.sendall(struct.pack("!I", len(block)) + block)
    if receive(sock, 32) != digest(block):
        raise SystemExit("a block arrived changed")


def connect(address, port):
    return socket.create_connection((address, int(port)), TIMEOUT)


def tcp(address, port, count, flows):
    failures = []

    def flow(seed):
        try:
            with connect(address, port) as sock:
                for block, _ in zip(blocks(seed), range(int(count))):
                    exchange(sock, block)
        except (OSError, EOFError, SystemExit) as error:
            failures.append(f"flow {seed}: {error!r}")

    threads = [threading.Thread(target=flow, args=(n,)) for n in range(int(flows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit("\n".join(failures))
    say("verified", int(count) * int(flows) * BLOCK)


def stream(address, port):
    with connect(address, port) as sock:
        for number, block in enumerate(blocks(7)):
            exchange(sock, block)
            say("block", number)


def udp(address, port, count, size, segment):
    count, size, segment = int(count), int(size), int(segment)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.settimeout(10)
    sock.connect((address, int(port)))
    if segment:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
    for _, content in zip(range(count), blocks(9)):
        data = content[:size]
        step = segment or size
        wanted = {digest(data[at : at + step]) for at in range(0, size, step)}
        sock.send(data)
        while wanted:
            answer = sock.recv(64)
            if answer not in wanted:
                raise SystemExit("a datagram arrived changed, or twice")
            wanted.remove(answer)
    say("verified", count * size)


def flood(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    data = bytes(1400)
    say("flooding")
    while True:
        try:
            sock.sendto(data, (address, 9))
        except OSError:  # what the other end or the network refuses is no news
            pass


def raw(ifname, dst, src, ethertype, text, count):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((ifname, 0))
    header = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex(src.replace(":", "")) + bytes.fromhex(ethertype)
    for _ in range(int(count)):
        sock.send(header + text.encode().ljust(46, b"\0"))


def tagged(sock):
    """A frame as it came, with the tag that the kernel took out of it."""
    data, extra, _, _ = sock.recvmsg(70000, 256)
    for level, kind, content in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", content[:20])
            if status & 0x10:
                data = data[:12] + struct.pack("!HH", tpid if status & 0x40 else 0x8100, tci) + data[12:]
    return data


def open_packets(ifname):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind((ifname, 3))
    return sock


def listen(ifname, ethertype):
    sock = open_packets(ifname)
    say("listening")
    while True:
        frame = tagged(sock)
        vlan = "none"
        if frame[12:14] in (b"\x81\x00", b"\x88\xa8"):
            (tci,) = struct.unpack("!H", frame[14:16])
            vlan = f"{frame[12:14].hex()}/{tci & 0xFFF}/{tci >> 13}"
            frame = frame[:12] + frame[16:]
        if frame[12:14].hex() == ethertype:
            say("frame", frame[:6].hex(":"), frame[6:12].hex(":"), vlan, len(frame), frame[14:].split(b"\0")[0].decode(errors="replace"))


def vlan(ifname, tap, vid, tpid):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
    tpid = bytes.fromhex(tpid)
    sock = open_packets(ifname)
    say("serving")
    while True:
        ready, _, _ = select.select([device, sock], [], [])
        if device in ready:
            frame = os.read(device, 65536)
            sock.send(frame[:12] + tpid + struct.pack("!H", int(vid)) + frame[12:])
        if sock in ready:
            frame = tagged(sock)
            if frame[12:14] == tpid and struct.unpack("!H", frame[14:16])[0] & 0xFFF == int(vid):
                try:
                    os.write(device, frame[:12] + frame[16:])
                except OSError:  # the tap is not up yet
                    pass


if __name__ == "__main__":
    {f.__name__: f for f in (serve, tcp, stream, udp, flood, raw, listen, vlan)}[sys.argv[1]](*sys.argv[2:])
