"""The features of a tf.train.Example by their names, read in place whatever their type."""

import numpy as np

from corolla.data.protobuf import DELIMITED, FIXED32, VARINT, Buffer, Span, fields, messages, varint

BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
"""The lists of a Feature (tensorflow/core/example/feature.proto), by the numbers of their fields."""


def read_features(buffer: Buffer, start: int, end: int) -> dict[bytes, list[Span]]:
    """Return the parts of each Feature of the Example in buffer[start:end]; of entries with one name the last counts.

    Raises:
        ValueError: the message is malformed.
    """
    features: dict[bytes, list[Span]] = {}
    for message in messages(buffer, [(start, end)], 1):
        for entry in messages(buffer, [message], 1):
            name, value = _map_entry(buffer, entry)
            features[name] = value
    return features


def kind_of_list(buffer: Buffer, feature: list[Span]) -> int | None:
    """Return which list a Feature has, None where it has none."""
    kind = None
    for span in feature:
        for number, wire, _, _ in fields(buffer, *span):
            if wire == DELIMITED and number in (BYTES_LIST, FLOAT_LIST, INT64_LIST):
                kind = number
    return kind


def byte_spans(buffer: Buffer, feature: list[Span]) -> list[Span]:
    """Return the places of the values of a BytesList; none where the Feature has another list."""
    return messages(buffer, _lists(buffer, feature, BYTES_LIST), 1)


def int64s(buffer: Buffer, feature: list[Span]) -> list[int]:
    """Return the values of an Int64List, packed or not; none where the Feature has another list."""
    values: list[int] = []
    for span in _lists(buffer, feature, INT64_LIST):
        for number, wire, start, end in fields(buffer, *span):
            if number == 1 and wire in (VARINT, DELIMITED):
                while start < end:
                    value, start = varint(buffer, start, end)
                    values.append(value - (value >> 63 << 64))
    return values


def floats(buffer: Buffer, feature: list[Span]) -> list[float]:
    """Return the values of a FloatList, packed or not; none where the Feature has another list.

    Raises:
        ValueError: a packed list is no whole number of floats.
    """
    values: list[float] = []
    for span in _lists(buffer, feature, FLOAT_LIST):
        for number, wire, start, end in fields(buffer, *span):
            if number == 1 and wire in (FIXED32, DELIMITED):
                if (end - start) % 4:
                    raise ValueError("malformed protobuf: a list of floats is cut")
                values += np.frombuffer(buffer[start:end], "<f4").tolist()
    return values


def _map_entry(buffer: Buffer, entry: Span) -> tuple[bytes, list[Span]]:
    """Return a map entry's key and the parts of its value, which protobuf merges."""
    key, value = b"", []
    for number, wire, start, end in fields(buffer, *entry):
        if wire == DELIMITED and number == 1:
            key = buffer[start:end]
        elif wire == DELIMITED and number == 2:
            value.append((start, end))
    return key, value


def _lists(buffer: Buffer, feature: list[Span], kind: int) -> list[Span]:
    """Return the parts of a Feature's list if it is of that kind; in a oneof the member that came last counts."""
    parts: list[Span] = []
    for span in feature:
        for number, wire, start, end in fields(buffer, *span):
            if wire == DELIMITED and number == kind:
                parts.append((start, end))
            elif wire == DELIMITED and number in (BYTES_LIST, FLOAT_LIST, INT64_LIST):
                parts = []
    return parts
