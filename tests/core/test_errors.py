"""The tree of errors: what retries, statuses and log levels rely on, for every kind there is."""

from __future__ import annotations

import pytest

from stt_core import errors
from stt_core.errors import FileTooLargeError, PermanentError, SttError, TransientError

#: Those of the package, but for the root, which is on neither branch: a test may have made one for itself.
KINDS = [kind for kind in SttError.branch() if kind.__module__.startswith(f"{errors.__name__}.")][1:]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kind_when_asked_whether_to_retry_then_it_is_on_exactly_one_branch(kind: type[SttError]) -> None:
    assert issubclass(kind, TransientError) != issubclass(kind, PermanentError)
    assert kind.transient == issubclass(kind, TransientError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kind_when_it_becomes_a_problem_document_then_name_and_status_are_fit(kind: type[SttError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.kind.replace("-", "").isalnum()
    assert kind.kind == kind.kind.lower()
    assert 400 <= kind.status < 600


def test_tree_when_drawn_then_every_kind_stands_under_its_base() -> None:
    drawn: dict[str, str] = {}
    above: dict[int, str] = {}  # by how far a line is indented
    tree = (errors.__doc__ or "").partition("    SttError\n")[2].partition("\n\n")[0]
    above[4] = "SttError"
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        for name in line.strip(" ,").split(", "):
            drawn[name] = above[indent - 2]
            above[indent] = name
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS}


def test_kinds_when_named_then_no_two_share_a_name() -> None:
    names = [kind.kind for kind in KINDS]
    assert len(names) == len(set(names)) > 30


def test_kinds_when_listed_then_the_package_shows_each() -> None:
    assert all(getattr(errors, kind.__name__) is kind for kind in [SttError, *KINDS])


def test_callers_mistakes_when_answered_then_they_are_4xx_and_expected() -> None:
    mistakes = [kind for kind in KINDS if issubclass(kind, errors.InvalidInputError)]
    assert all(400 <= kind.status < 500 and kind.expected and not kind.transient for kind in mistakes)


def test_outages_when_listed_then_they_are_what_passes_without_anything_wrong_with_the_job() -> None:
    assert all(kind.transient for kind in KINDS if kind.outage)
    assert {kind.kind for kind in KINDS if kind.outage} == {
        "database-unavailable", "queue-unavailable", "store-unavailable", "disk-full", "run-interrupted",
    }  # fmt: skip


def test_error_when_printed_then_it_says_what_and_how_to_mend() -> None:
    error = FileTooLargeError("The file has 3 bytes.", mend="Send at most 2.", size=3, limit=2)
    assert str(error) == "The file has 3 bytes. Send at most 2."
    assert (error.message, error.mend, error.details) == (
        "The file has 3 bytes.",
        "Send at most 2.",
        {"size": 3, "limit": 2},
    )


def test_error_when_it_has_no_mend_then_it_prints_its_message() -> None:
    assert str(SttError("It broke.")) == "It broke."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_when_it_crosses_processes_then_it_arrives_whole(kind: type[SttError]) -> None:
    import pickle

    sent = kind("It broke.", mend="Mend it.", chunk=3)
    arrived = pickle.loads(pickle.dumps(sent))
    assert type(arrived) is kind
    assert (str(arrived), arrived.mend, arrived.details) == (str(sent), "Mend it.", {"chunk": 3})
