"""Edits of a Fast DDS profile: out with shared memory, and found on this machine only.

Both work on the default participant of a profile, which is made where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, tostring

_UDP = "mqe_udp"  # the transport of the profile `udp_only`


def udp_only(text: bytes, ours: bytes) -> bytes:
    """`text` without shared memory; all else stays. Where none of its transports is left, with that of `ours`.

    Args:
        text: a user's profile. Where it is none, `ours` is the result.
        ours: a profile that speaks UDP only: one descriptor, one participant.
    """
    root = _parsed(text)
    profiles = None if root is None else root if root.tag == "profiles" else root.find("profiles")
    descriptors, participant = _profile(ours)
    if root is None or profiles is None:
        return ours
    shared = {
        _text(descriptor, "transport_id")
        for descriptor in profiles.iter("transport_descriptor")
        if _text(descriptor, "type") == "SHM"
    }
    for group in profiles.findall("transport_descriptors"):  # of ours already, where this is done twice
        for descriptor in [one for one in group if _text(one, "transport_id") == _UDP]:
            group.remove(descriptor)
        if len(group) == 0:
            profiles.remove(group)
    profiles.insert(0, descriptors)
    if not _defaults(profiles):
        profiles.append(participant)
    for default in _defaults(profiles):
        _speak_udp(_child(default, "rtps"), shared)
    return tostring(root, encoding="utf-8")


def on_this_machine(text: bytes, peers: Iterable[str]) -> bytes:
    """A profile of `udp_only` or its `ours`, whose participant is found on this machine and at `peers` only.

    As ROS's LOCALHOST, which cannot be used itself: rmw_fastrtps adds shared memory to every profile then.
    """
    root = _profile(text)
    for default in _defaults(root):
        builtin = _child(_child(default, "rtps"), "builtin")
        for name in ("metatrafficMulticastLocatorList", "metatrafficUnicastLocatorList"):
            _remove(builtin, name)
        SubElement(SubElement(_child(builtin, "metatrafficUnicastLocatorList"), "locator"), "udpv4")  # no multicast
        known = _child(builtin, "initialPeersList")
        there = {one.text for one in known.iter("address")}
        for peer in dict.fromkeys(("127.0.0.1", *peers)):
            if peer in there:
                continue
            SubElement(SubElement(SubElement(known, "locator"), "udpv4"), "address").text = peer
    return tostring(root, encoding="utf-8")


def _speak_udp(rtps: Element, shared: set[str]) -> None:
    """Leave the participant's transports that are not in `shared`, and none that Fast DDS would add."""
    own = [(one.text or "").strip() for one in rtps.iterfind("userTransports/transport_id")]
    for name in ("userTransports", "useBuiltinTransports", "builtinTransports"):
        _remove(rtps, name)
    transports = _child(rtps, "userTransports")
    for name in [one for one in own if one not in shared] or [_UDP]:
        SubElement(transports, "transport_id").text = name
    _child(rtps, "useBuiltinTransports").text = "false"


def _profile(text: bytes) -> Element:
    root = _parsed(text)
    assert root is not None
    return root


def _parsed(text: bytes) -> Element | None:
    """Without namespaces, which Fast DDS would read as a part of the names. None where it is no XML."""
    try:
        root = fromstring(text)
    except ParseError:
        return None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _defaults(root: Element) -> list[Element]:
    return [one for one in root.iter("participant") if one.get("is_default_profile") == "true"]


def _text(element: Element, child: str) -> str:
    return element.findtext(child, "").strip()


def _child(element: Element, name: str) -> Element:
    """The child of that name, made where there is none."""
    found = element.find(name)
    return SubElement(element, name) if found is None else found


def _remove(element: Element, name: str) -> None:
    for child in element.findall(name):
        element.remove(child)
