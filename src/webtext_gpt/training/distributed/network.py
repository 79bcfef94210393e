"""Network of a run on several machines: wait for rank 0, and choose gloo's interface.

gloo listens on the address of the machine's own name. Debian's `/etc/hosts` gives that name a
loopback address, and other machines may not know the name at all.

As a program, `python -m webtext_gpt.training.distributed.network HOST PORT` waits until something
listens there. Run before torchrun, it replaces torchrun's own wait of twice its timeout.
"""

import contextlib
import fcntl
import os
import socket
import struct
import sys
import time
from ipaddress import ip_address

from webtext_gpt.errors import UserError
from webtext_gpt.terminal import say

INTERFACE = "GLOO_SOCKET_IFNAME"
"""gloo's environment variable for the network interface to use."""
REACH_SECONDS = 20.0
"""Seconds to try to reach rank 0's machine."""
SAY_SECONDS = 10.0
"""Seconds without a listener at rank 0's address before a line says so."""
CONNECT_SECONDS = 5.0
ANYWHERE = "192.0.2.1"
"""An address that is reserved for documentation; the default route leads there."""
SIOCGIFADDR = 0x8915


def reach(host: str, port: int, *, here: str, listens: bool, named_by: str) -> None:
    """Wait until rank 0's machine answers, before torch waits there for half an hour.

    Args:
        host: name or address of rank 0's machine.
        port: port of its store.
        here: this process or machine, for messages.
        listens: whether something listens there already, as torchrun does when it starts its
            processes. Otherwise rank 0 listens once it is ready, and is waited for.
        named_by: the setting that gives `host`, for messages.

    Raises:
        UserError: the name is unknown, no route leads there, the machine does not answer, or
            nothing listens there in time; the message names both machines and the cause.
    """
    began = time.monotonic()
    said = False
    while True:
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
            return
        except OSError as error:
            waiting = isinstance(error, ConnectionRefusedError) and not listens
            waited = time.monotonic() - began
            if isinstance(error, socket.gaierror) or (waited > REACH_SECONDS and not waiting):
                raise UserError(
                    f"{here} cannot reach rank 0 at {host}:{port}: {_cause(host, error)} (Where "
                    f"the machines know {host} by another name or address, give it by {named_by}.)"
                ) from None
            if waiting and waited > SAY_SECONDS and not said:
                say(f"{here} waits for rank 0: nothing listens at {host}:{port} yet")
                said = True
        time.sleep(1)


def _cause(host: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"this machine knows no address of {host}"
    if isinstance(error, ConnectionRefusedError):
        return "the machine answers, but nothing listens there; has rank 0 ended with an error?"
    return f"{error.strerror or error}; is a firewall between them, or the machine off?"


def choose_interface(main_address: str) -> None:
    """Set gloo's interface if this machine's own name would lead gloo to the loopback.

    Nothing is changed where the name has an address that other machines can reach, or where
    `GLOO_SOCKET_IFNAME` is set.

    Args:
        main_address: name or address of rank 0's machine.

    Raises:
        UserError: this machine has several interfaces, and none leads to `main_address`.
    """
    if INTERFACE in os.environ or _is_reachable(socket.gethostname()):
        return
    found = interfaces()
    for target in (main_address, ANYWHERE):
        with contextlib.suppress(OSError):
            for name, address in found.items():
                if address == facing(target):
                    os.environ[INTERFACE] = name
                    return
    if len(found) != 1:
        raise UserError(
            f"{socket.gethostname()} has no address under its own name that other machines can "
            f"reach, and the network to use is not evident among {', '.join(found) or 'none'}; "
            f"set {INTERFACE} to the interface that leads to the other machines"
        )
    os.environ[INTERFACE] = next(iter(found))


def _is_reachable(name: str) -> bool:
    """Return whether a name has an address, and the first is none of the loopback's."""
    try:
        first = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return False
    return not ip_address(str(first).partition("%")[0]).is_loopback


def interfaces() -> dict[str, str]:
    """Return the IPv4 address of each network interface that has one, without the loopback's."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # no address
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)
                address = socket.inet_ntoa(answer[20:24])
                if not ip_address(address).is_loopback:
                    found[name] = address
    return found


def facing(host: str) -> str:
    """Return this machine's IPv4 address on the way to another; no packet is sent.

    Raises:
        OSError: the name is unknown, or no route leads there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    from webtext_gpt.cli import clear_errors

    with clear_errors():
        reach(
            sys.argv[1],
            int(sys.argv[2]),
            here=socket.gethostname(),
            listens=True,
            named_by="--master-addr to torchrun",
        )
