"""Who else reaches a VM's VNC when it asks for no password."""

from __future__ import annotations


def is_loopback(listen: str) -> bool:
    """True for an address, in its normal form, that only its own machine reaches.

    The last is how Python 3.11 and 3.12 write ::ffff:127.0.0.0 to ::ffff:127.255.255.255.
    """
    return listen == "::1" or listen.startswith(("127.", "::ffff:127.", "::ffff:7f"))


def vnc_warning(vm: str, worker: str, *, listen: str, port: int) -> str:
    """The risk of VNC without a password on that address of the worker; empty on its loopback.

    `listen` is an address in its normal form; empty is every address.
    """
    if is_loopback(listen):
        return ""
    return (
        f"{vm}: anybody who reaches port {port} on {listen or 'any address'} of {worker} sees and"
        " controls it: its VNC has no password\n"
        "  for one-time passwords on loopback, leave vnc_listen out of hosts.toml and restart it;\n"
        '  in Python, VMLauncher(executor, vnc_listen="127.0.0.1") does the same'
    )
