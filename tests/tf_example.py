"""tf.train.Example as protobuf's own library reads and writes it, to hold our reader against."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def protobuf_example() -> Any:
    """Return the class of a tf.train.Example."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto

    def add(parent: Any, name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = parent.add(name=name)
        for field_name, number, label, kind, type_name in fields:
            made.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name or None)
        return made

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    add(file.message_type, "BytesList", ("value", 1, many, field.TYPE_BYTES, ""))
    add(file.message_type, "FloatList", ("value", 1, many, field.TYPE_FLOAT, ""))
    add(file.message_type, "Int64List", ("value", 1, many, field.TYPE_INT64, ""))
    names = enumerate(("Bytes", "Float", "Int64"), 1)
    lists = [(f"{name.lower()}_list", number, one, field.TYPE_MESSAGE, f".t.{name}List") for number, name in names]
    kinds = add(file.message_type, "Feature", *lists)
    kinds.oneof_decl.add(name="kind")
    for member in kinds.field:
        member.oneof_index = 0
    features = add(file.message_type, "Features", ("feature", 1, many, field.TYPE_MESSAGE, ".t.Features.FeatureEntry"))
    key, value = ("key", 1, one, field.TYPE_STRING, ""), ("value", 2, one, field.TYPE_MESSAGE, ".t.Feature")
    entry = add(features.nested_type, "FeatureEntry", key, value)
    entry.options.map_entry = True
    add(file.message_type, "Example", ("features", 1, one, field.TYPE_MESSAGE, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportAttributeAccessIssue]
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


PROTOBUF = protobuf_example()
