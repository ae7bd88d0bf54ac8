"""The caller's own data about a job, as it is held and as it is given back."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

#: Any JSON object. MongoDB holds it as JSON text: what JSON allows, such as a key with a dot, it need not.
Metadata = Annotated[
    dict[str, Any], BeforeValidator(lambda value: json.loads(value) if isinstance(value, str) else value)
]
StoredMetadata = Annotated[Metadata, PlainSerializer(json.dumps, return_type=str)]
