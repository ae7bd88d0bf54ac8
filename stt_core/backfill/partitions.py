"""The partition key of an object: `bucket/key`, as people know it.

Dagster refuses control characters in partition keys, and `...`, which it writes ranges with. Those and `%` itself are
percent-encoded; all else stays as it is, spaces, ü, `/` and quotes too.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_ENCODED = re.compile(r"[\x00-\x1f\x7f%]")


def partition_key(bucket: str, key: str) -> str:
    """Return the partition key of an object."""
    encoded = _ENCODED.sub(lambda match: f"%{ord(match[0]):02X}", key).replace("...", "..%2E")
    return f"{bucket}/{encoded}"


def split_partition_key(partition: str) -> tuple[str, str]:
    """Return the bucket and the key of the object that a partition key stands for."""
    bucket, _, key = partition.partition("/")
    return bucket, unquote(key)
