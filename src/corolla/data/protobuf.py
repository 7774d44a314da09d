"""The wire format of protobuf, as far as an Example needs it: read in place, and written.

https://protobuf.dev/programming-guides/encoding
"""

import mmap
from collections.abc import Iterator

Buffer = bytes | mmap.mmap
Span = tuple[int, int]
"""The bytes [start, end) of a buffer."""

VARINT, FIXED64, DELIMITED, GROUP_START, GROUP_END, FIXED32 = range(6)
"""Wire types."""


def messages(buffer: Buffer, spans: list[Span], number: int) -> list[Span]:
    """Return the length-delimited fields with that number."""
    return [
        (start, end)
        for span in spans
        for field, wire, start, end in fields(buffer, *span)
        if field == number and wire == DELIMITED
    ]


def fields(buffer: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type and payload span of a message's fields, without those inside groups (long obsolete)."""
    groups: list[int] = []
    while start < end:
        tag, start = varint(buffer, start, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"malformed protobuf: field number {number}")
        payload = start
        if wire == VARINT:
            start = varint(buffer, start, end)[1]
        elif wire == DELIMITED:
            length, payload = varint(buffer, start, end)
            start = payload + length
        elif wire in (FIXED64, FIXED32):
            start += 8 if wire == FIXED64 else 4
        elif wire == GROUP_START:
            groups.append(number)
        elif wire != GROUP_END or not groups or groups.pop() != number:
            raise ValueError(f"malformed protobuf: wire type {wire} in field {number}")
        if start > end:
            raise ValueError(f"malformed protobuf: field {number} runs past its message's end")
        if not groups and wire != GROUP_END:
            yield number, wire, payload, start
    if groups:
        raise ValueError(f"malformed protobuf: group {groups[-1]} has no end")


def varint(buffer: Buffer, start: int, end: int) -> tuple[int, int]:
    """Return the unsigned 64-bit varint at `start`, and where it ends."""
    if start < end and (byte := buffer[start]) < 0x80:
        return byte, start + 1  # the usual case, a single byte
    value = 0
    for shift in range(0, min(10, end - start) * 7, 7):
        byte = buffer[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, start
    raise ValueError("malformed protobuf: a varint without an end")


def encode_varint(value: int) -> bytes:
    """Encode an unsigned number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_field(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited field."""
    return encode_varint(number << 3 | DELIMITED) + encode_varint(len(payload)) + payload
