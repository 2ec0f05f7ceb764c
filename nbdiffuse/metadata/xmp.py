"""XMP: our recipe as a packet of it, and the descriptions that other tools put into theirs."""

from __future__ import annotations

import html
import re
from typing import Any

_TAG = "nbdiffuse:provenance"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:nbdiffuse="urn:nbdiffuse"><{_TAG}>%s</{_TAG}></rdf:Description>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_COMMENTS = ("exif:UserComment", "dc:description", "parameters")
_TAGS = re.compile(r"<[^<>]*>")
_LARGEST = 4_000_000


def packet_with(provenance: str) -> bytes:
    """Write a packet that holds our JSON."""
    # XML forbids two characters that JSON does not escape by itself.
    allowed = provenance.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    return (_PACKET % html.escape(allowed, quote=False)).encode()


def read(packet: Any) -> tuple[str | None, list[str]]:
    """Return our JSON, or None, and the comments of a packet, whatever they say.

    Draw Things, for one, writes its settings as a comment. All is cut out and not
    parsed: XML from strangers can expand without end.
    """
    text = packet.decode("utf-8", "replace") if isinstance(packet, (bytes, bytearray)) else str(packet or "")
    ours = _inside(text, _TAG)
    held = (_inside(text[:_LARGEST], tag) for tag in _COMMENTS)
    # A list of languages stands around what we look for.
    comments = [html.unescape(_TAGS.sub("", one)).strip() for one in held if one]
    return None if ours is None else html.unescape(ours), [one for one in comments if one]


def _inside(text: str, tag: str) -> str | None:
    _, opened, rest = text.partition(f"<{tag}")
    attributes, closed, rest = rest.partition(">")
    if opened and closed and not attributes.endswith("/"):
        inside, ended, _ = rest.partition(f"</{tag}>")
        return inside if ended else None
    # The same may stand as an attribute.
    _, named, rest = text.partition(f' {tag}="')
    inside, ended, _ = rest.partition('"')
    return inside if named and ended else None
