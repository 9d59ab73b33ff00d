# SPDX-License-Identifier: Apache-2.0
"""A virtual machine under test.

The guest's root is the bed's tree, read-only, under an overlay in its memory: it starts from the same state each time
and leaves nothing behind. It has no NIC but those that the test gives it. The test talks to an agent in it.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import cpio, kmod, machine, paths
from .accel import choose
from .agent import Agent, Command, GuestLost, GuestProcess, Result
from .hosts import Host, LocalHost
from .pci import PF, root_port
from .qmp import Qmp, QmpError

GUEST_FILES = Path(__file__).parent / "guest"
BOOT_TIMEOUT = 180.0
# Debian has no kernel with lockdep or KASAN; this is what its kernels can be told to check: red zones, poison and
# consistency of slab objects, poisoned free pages, and (from 6.12 on) KFENCE's guard pages more often.
MEMORY_DEBUGGING = "slub_debug=FZPU page_poison=1 kfence.sample_interval=10"
_FIRST_PF_SLOT, _FIRST_HOTPLUG_SLOT = 0x10, 0x18
_ALARMS = re.compile(r"WARNING:|BUG:|Oops|general protection|Call Trace|Kernel panic|UBSAN|KASAN|KCSAN|INFO: task .* blocked|possible circular locking|suspicious RCU|refcount_t|unregister_netdevice: waiting")


class VM:
    """`pfs` are plugged in at start, the first one is 0000:01:00.0; `args` are more QEMU arguments; `files` come into
    the guest through its initramfs (guest path to file or content); `shares` are host directories over 9p (guest path to
    host path; read-only unless the guest path is given as "rw:/path"; one that nobody writes to is quicker as
    "fixed:/path"). `hotplug` root ports hp0, hp1, … are kept free.
    `memory_debugging` makes the guest's kernel look after its memory, at a price in speed.
    """

    def __init__(
        self,
        name: str = "vm",
        kernel: str = "7",
        cpus: int = 1,
        memory: str = "512M",
        pfs: Sequence[PF] = (),
        args: Sequence[str] = (),
        accel: str | None = None,
        *,
        append: str = "",
        memory_debugging: bool = False,
        files: Mapping[str, Path | bytes] | None = None,
        shares: Mapping[str, str | os.PathLike[str]] | None = None,
        hotplug: int = 2,
        share_project: bool = True,
        incoming: bool = False,
        interactive: bool = False,
        cpu: str | None = None,
        logs: Path | None = None,
        host: Host | None = None,
        boot_timeout: float = BOOT_TIMEOUT,
    ):
        self.name, self.kernel_name, self.cpus, self.memory = name, kernel, cpus, memory
        self.pfs, self.args = list(pfs), list(args)
        self.append = f"{MEMORY_DEBUGGING} {append}" if memory_debugging else append
        self.files, self.hotplug, self.incoming = dict(files or {}), hotplug, incoming
        self.interactive, self.boot_timeout = interactive, boot_timeout
        self.logs = logs or Path(tempfile.mkdtemp(prefix=f"vpf-log-{name[:20]}-"))
        self.logs.mkdir(parents=True, exist_ok=True)
        self.host: Host = host or LocalHost(accel or choose(), self.logs)
        self.cpu = cpu or ("host" if self.host.accel == "kvm" else "max")
        self._project = share_project
        self._extra_shares = dict(shares or {})
        self._running = False
        self._copied_console = ""
        self.boot_seconds = 0.0
        self.directory = self.host.directory(name)
        self.console_path = f"{self.directory}/console"
        self.vpfd_qmp = f"{self.directory}/vpfd-qmp"

    # -- command line

    def _shares(self) -> tuple[list[str], str]:
        shares = {}
        if self._project:
            shares = {tag: (source, target, "ro") for tag, (source, target) in self.host.shares().items()}
        for number, (target, source) in enumerate(self._extra_shares.items()):
            mode, _, path = target.rpartition(":")
            shares[f"share{number}"] = (os.fspath(source), path, mode or "ro")
        args, mounts = [], []
        for tag, (source, target, mode) in shares.items():
            readonly = "" if mode == "rw" else ",readonly=on"
            args += ["-fsdev", f"local,id={tag},path={source},security_model=none,multidevs=remap{readonly}"]
            args += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
            mounts.append(f"{tag}:{target}:{mode}")
        return args, ",".join(mounts)

    def guest_files(self) -> dict[str, Path | bytes]:
        """What the bed appends to the initramfs. The guest finds it in /bed/guest."""
        files: dict[str, Path | bytes] = {f"guest/{p.name}": p for p in sorted(GUEST_FILES.iterdir()) if p.is_file()}
        return files | {f"guest/files{target}": source for target, source in self.files.items()}

    def _initrd(self) -> str:
        base = paths.kernel(self.kernel_name)[1]
        return self.host.put(self.directory, "initrd", [base, cpio.archive(self.guest_files())])

    def command_line(self) -> list[str]:
        kvm = self.host.accel == "kvm"
        shares, mounts = self._shares()
        # mitigations=off and no console chatter are for speed; warnings and worse still reach the console. A test of the timer
        # interrupt fails, and panics, where the host has no time for the guest.
        append = (
            f"console=ttyS0 loglevel=5 panic=-1 mitigations=off no_timer_check random.trust_cpu=on net.ifnames=0 "
            f"bed.shares={mounts} {'bed.console' if self.interactive else ''} {self.append}"
        )
        # A person at the terminal has no agent to talk to.
        console = "stdio,id=console,signal=off,mux=on" if self.interactive else f"file,id=console,path={self.console_path}"
        channels = [] if self.interactive else [
            "-mon", "chardev=qmp,mode=control",
            "-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=agent,name=vpf.agent",
        ]  # fmt: skip
        argv = [
            "-name", self.name, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", "q35,memory-backend=mem,usb=off,smbus=off,sata=off,vmport=off,hpet=off",
            "-accel", "kvm" if kvm else "tcg,thread=multi", "-cpu", self.cpu,
            "-smp", str(self.cpus), "-m", self.memory,
            "-object", f"memory-backend-memfd,id=mem,size={self.memory},share=on",
            "-kernel", self.host.kernel(self.kernel_name), "-initrd", self._initrd(), "-append", append,
            "-chardev", console, "-serial", "chardev:console", *channels,
            "-chardev", f"socket,id=vpfdqmp,path={self.vpfd_qmp},server=on,wait=off", "-mon", "chardev=vpfdqmp,mode=control",
            "-drive", f"if=none,id=root,file={self.host.root_disk()},format=raw,readonly=on,file.locking=off",
            "-device", "virtio-blk-pci,drive=root", *shares,
        ]  # fmt: skip
        for number, pf in enumerate(self.pfs):
            if not pf.bus:
                argv += root_port(f"{pf.id}-port", _FIRST_PF_SLOT + number)
        for number in range(self.hotplug):
            argv += root_port(f"hp{number}", _FIRST_HOTPLUG_SLOT + number)
        for pf in self.pfs:
            argv += [*pf.backends(), *pf.devices()]
        for key in dict.fromkeys(pf.key for pf in self.pfs if pf.key):
            argv += ["-smbios", f"type=11,path={os.fspath(key)}"]
        if self.incoming:
            argv += ["-incoming", "defer"]
        return argv + self.args

    # -- life

    def start(self) -> VM:
        """Starts QEMU and, unless it waits for a migration, returns when the guest obeys commands."""
        self.launch()
        self.finish_boot()
        return self

    def launch(self) -> None:
        """Starts QEMU only."""
        if self._running:
            raise RuntimeError(f"{self.name} runs already")
        if isinstance(self.host, LocalHost):
            machine.need_guest_memory(self.name, self.memory)
        self._running = True
        self._started = time.monotonic()
        try:
            agent, qmp = self.host.start(self.directory, self.command_line())
            self.agent = Agent(self.name, agent, self._diagnosis)
            try:
                self.qmp = Qmp(self.name, qmp, self.boot_timeout)  # QEMU makes the devices before it answers
            except QmpError as error:
                raise GuestLost(f"{error}\n{self._diagnosis()}") from None
        except BaseException:
            self.kill()
            raise

    def finish_boot(self) -> None:
        """Awaits the guest that `launch` started."""
        if self.incoming:
            return
        try:
            self.wait_boot(1)
        except BaseException:
            self.kill()
            raise
        self.boot_seconds = time.monotonic() - self._started

    def _install_files(self) -> None:
        if self.files:
            self.run("cp -a /bed/guest/files/. /")

    def __enter__(self) -> VM:
        return self if self._running else self.start()

    def __exit__(self, *_exception: object) -> None:
        self.kill()

    def stop(self, timeout: float = 20) -> None:
        """Ends the guest in an orderly way: it syncs nothing (nothing of it stays), but QEMU closes its devices."""
        self.qmp("quit")
        self.host.wait(timeout)
        self.kill()

    def kill(self) -> None:
        if not self._running:
            return
        self._running = False
        try:
            self._copied_console = self.console
            (self.logs / "console.log").write_text(self._copied_console)
        finally:
            for channel in ("agent", "qmp"):
                if hasattr(self, channel):
                    getattr(self, channel).close()
            self.host.kill()

    def reset(self, timeout: float | None = None) -> None:
        """Resets the machine, as its reset button would, and awaits the next boot."""
        boots = self.agent.boots
        with self.reboots_allowed():
            self.qmp("system_reset")
            self.wait_boot(boots + 1, timeout)

    @contextmanager
    def reboots_allowed(self) -> Iterator[None]:
        """Else a guest that resets itself (as one that panics does) is ended: nobody expects it."""
        self.qmp("set-action", reboot="reset")
        yield
        self.qmp("set-action", reboot="shutdown")

    def wait_boot(self, count: int, timeout: float | None = None) -> None:
        self.agent.wait_boot(count, timeout or self.boot_timeout)
        self._install_files()

    @property
    def alive(self) -> bool:
        return self._running and self.host.alive()

    # -- what the guest says

    @property
    def console(self) -> str:
        return self.host.read(self.console_path) if self._running else self._copied_console

    def _diagnosis(self) -> str:
        qemu = self.host.qemu_log() if self._running else ""
        tail = "\n".join(self.console.splitlines()[-80:])  # a panic and what led to it
        return f"--- QEMU says ({self.logs})\n{qemu}\n--- end of the console of {self.name}\n{tail}"

    def dmesg(self) -> str:
        return self.run("dmesg").stdout

    def dmesg_warnings(self) -> list[str]:
        """Lines by which the kernel complains about itself: warnings, oopses, lock and memory reports, hung tasks."""
        text = self.dmesg() if self.alive and not self.agent.lost else self.console
        return [line for line in text.splitlines() if _ALARMS.search(line)]

    # -- commands

    def run(
        self, command: Command, timeout: float = 30, netns: str | None = None, check: bool = True, input: str | None = None
    ) -> Result:
        """A string is for the shell, a list for exec. A status other than 0 raises CommandFailed when `check`."""
        return self.agent.run(command, timeout, netns, check, input)

    def popen(self, command: Command, netns: str | None = None, stdin: bool = False) -> GuestProcess:
        return self.agent.popen(command, netns, stdin)

    def pod(self, name: str) -> str:
        """A network namespace in the guest, as a container would have; commands take its name as netns."""
        self.run(f"ip netns add {name} && ip -n {name} link set lo up")
        return name

    def move(self, ifname: str, netns: str) -> None:
        self.run(f"ip link set {ifname} netns {netns}")

    def netdevs(self, address: str) -> list[str]:
        """Names, in the guest's first namespace, of the network devices of PCI function ADDRESS ("0000:01:00.0"): its own,
        vpf.ko's beside it if there is one."""
        pattern = f"/sys/bus/pci/devices/{address}"
        names = self.run(f"ls {pattern}/virtio*/net {pattern}/net 2>/dev/null | grep -v :", check=False).stdout.split()
        return list(dict.fromkeys(names))  # vpf.ko gives VFs a link that leads to the same directory

    def sriov_numvfs(self, number: int, pf: str = "0000:01:00.0", timeout: float = 60) -> None:
        self.run(f"echo {number} >/sys/bus/pci/devices/{pf}/sriov_numvfs", timeout)

    def load_vpf(self, parameters: str = "", timeout: float = 60) -> None:
        """Loads vpf.ko as it is in the project now. The virtual PFs it finds are taken over when it says so (as a netdev with
        the PCI function as parent), not when this returns."""
        module = kmod.built(self.kernel_name)
        # A module from a directory brings no others along, as one that is installed does.
        depends = f"for other in $(modinfo -F depends {module} | tr , ' '); do modprobe $other || exit 1; done"
        self.run(f"{depends}; insmod {module} {parameters}", timeout)

    # -- hot-plug and migration

    def plug(self, pf: PF) -> None:
        """Hot-plugs a virtual PF; its `bus` is a free root port ("hp0")."""
        args = pf.backends()
        for option, value in zip(args[::2], args[1::2], strict=True):
            kind, options = _parse(value)
            if option == "-chardev":
                backend = {"addr": {"type": "unix", "data": {"path": options["path"]}}, "server": False, "reconnect-ms": 200}
                self.qmp("chardev-add", id=options["id"], backend={"type": "socket", "data": backend})
            else:
                self.qmp("netdev_add", **{"type": kind, **options})
        for value in pf.devices()[1::2]:
            driver, options = _parse(value)
            more = {"multifunction": True} if options["id"] == pf.id else {}
            self.qmp("device_add", **{"driver": driver, **options, **more})

    def unplug(self, pf: PF, timeout: float = 30) -> None:
        """Removes a virtual PF as a whole, the guest consenting, and its back-ends."""
        self.qmp("device_del", id=pf.id)
        self.qmp.wait_event("DEVICE_DELETED", timeout, lambda data: data.get("device") == pf.id)
        for function in range(pf.functions()):
            self.qmp("netdev_del", id=pf.netdev_id(function))
            if pf.sockets:
                self.qmp("chardev-remove", id=pf.netdev_id(function) + "c")

    def migrate_to(self, target: VM, timeout: float = 120) -> None:
        """Live migration to TARGET, a started VM made with incoming=True. 9p shares cannot migrate: they are unmounted."""
        self.run("umount -l $(awk '$3 == \"9p\" { print $2 }' /proc/mounts)", check=False)
        uri = f"unix:{target.directory}/migration"
        target.qmp("migrate-incoming", uri=uri)
        for vm in (self, target):
            vm.qmp("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.qmp("migrate", uri=uri)
        end = self.qmp.wait_event("MIGRATION", timeout, lambda data: data["status"] in ("completed", "failed"))
        if end["status"] != "completed":
            raise AssertionError(f"migration failed: {self.qmp('query-migrate')}\n{target._diagnosis()}")
        target.agent.ping()


def _parse(value: str) -> tuple[str, dict[str, Any]]:
    kind, *options = value.split(",")
    pairs = dict(option.split("=", 1) for option in options)
    return kind, {key: _typed(key, text) for key, text in pairs.items()}


def _typed(key: str, text: str) -> Any:
    if text in ("on", "off"):
        return text == "on"
    return int(text) if text.isdigit() and key in ("queues", "vectors", "hubid") else text


def start_all(*vms: VM) -> None:
    """Boots VMs at the same time."""
    try:
        for vm in vms:
            vm.launch()
        for vm in vms:
            vm.finish_boot()
    except BaseException:
        for vm in vms:
            vm.kill()
        raise


__all__ = ["PF", "VM", "start_all"]
