"""Forms that no client would send, and names that nobody would give: an answer of ours to each, and nothing left."""

from __future__ import annotations

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_core.services import Services
from tests.api.conftest import UPLOAD, everything, kind_of, multipart, wav

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

#: What a form is made of, in any order, with anything between.
pieces = st.one_of(
    st.sampled_from(
        [
            b"--edge", b"--edge--", b"\r\n", b"\r\n\r\n", b"\n", b'Content-Disposition: form-data; name="file"',
            b'; filename="a.wav"', b'; filename*=UTF-8\'\'a.wav', b'; name="priority"', b"Content-Type: audio/wav",
            b"Content-Transfer-Encoding: base64", b"RIFF", b"\x00", b"\xff" * 200, b"a" * 5000,
        ]
    ),
    st.binary(max_size=40),
)  # fmt: skip


@FUZZ
@given(body=st.lists(pieces, max_size=12).map(b"".join), boundary=st.sampled_from(["edge", "", "edge\\", '"e"', "é"]))
def test_form_when_it_is_garbage_then_refused_and_nothing_is_left(
    client: httpx.Client, services: Services, body: bytes, boundary: str
) -> None:
    before = everything(services)
    content_type = f"multipart/form-data; boundary={boundary}".encode()
    response = client.post(UPLOAD, content=body, headers={"Content-Type": content_type})
    assert kind_of(response)
    assert 400 <= response.status_code < 500
    assert everything(services) == before


@FUZZ
@given(
    name=st.one_of(
        st.text(min_size=1, max_size=400),
        st.text(alphabet="./\\:%0\"'<>&;$`\u202e\u200b\u0301", min_size=1, max_size=40),
    )
)
def test_file_name_when_it_is_anything_then_shown_harmlessly_and_never_in_a_key(
    client: httpx.Client, services: Services, name: str
) -> None:
    quoted = "".join("%22" if one == '"' else "%0A" if one in "\r\n" else one for one in name)  # as browsers do
    disposition = f'name="file"; filename="{quoted}"'.encode("utf-8", "surrogatepass")
    headers, body = multipart(wav(), disposition=disposition)
    response = client.post(UPLOAD, content=body, headers=headers)
    if response.status_code != 202:
        assert (response.status_code, kind_of(response)) == (400, "invalid-input")
        return
    job = services.jobs.get_job(response.json()["job_id"])
    assert job.filename == response.json()["filename"]
    assert job.filename.isprintable() and 1 <= len(job.filename) <= 255 and not set(job.filename) & set("/\\")
    assert job.source is not None
    assert job.source.key == f"uploads/{job.job_id}/source.wav"
    services.tasks.cancel_task(job.job_id)
    services.jobs.delete_job(job.job_id)
    services.store.remove_prefix(f"uploads/{job.job_id}/")
