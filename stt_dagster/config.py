"""Texts in a run's configuration that are what they say."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

#: A text. Dagster reads `{"env": "NAME"}` as the value of an environment variable wherever a field is a `str`: whoever
#: may launch runs could read our secrets off their logs.
PlainText = Annotated[Any, AfterValidator(str)]
