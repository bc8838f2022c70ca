"""What counts as one address wherever something is limited by address. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

_IPV6_HOST_BITS = 64
"""A household has at least a network of so many bits (RFC 6177): its 2⁶⁴ addresses are one."""


def neighbourhood(address: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # no IP at all, as on a Unix socket
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)) + "/64"
