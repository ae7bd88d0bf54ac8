from __future__ import annotations

from stt_core import object_keys


def test_keys_of_a_job_lie_under_the_prefixes_that_remove_them() -> None:
    assert object_keys.source("j", "mp3").startswith(object_keys.source_prefix("j"))
    assert object_keys.prepared_pcm("j", 2).startswith(object_keys.audio_prefix("j"))
    assert object_keys.frame_energies("j", 2).startswith(object_keys.audio_prefix("j"))
    assert object_keys.transcript(object_keys.result_prefix("j", 2), "json").startswith(object_keys.results_of_job("j"))


def test_prefixes_of_one_job_hold_nothing_of_another_whose_id_begins_alike() -> None:
    assert not object_keys.source("job10", "mp3").startswith(object_keys.source_prefix("job1"))
    assert not object_keys.result_prefix("j", 10).startswith(object_keys.result_prefix("j", 1))


def test_keys_of_attempts_differ() -> None:
    assert object_keys.prepared_pcm("j", 1) != object_keys.prepared_pcm("j", 2)


def test_keys_of_channels_differ() -> None:
    channels = (None, 0, 1)
    assert len({object_keys.prepared_pcm("j", 1, channel) for channel in channels}) == len(channels)
    assert len({object_keys.frame_energies("j", 1, channel) for channel in channels}) == len(channels)


def test_step_output_when_the_step_is_mapped_has_a_key_without_brackets() -> None:
    assert object_keys.step_output("job", "run", "transcribe[b0]", "result") == "runs/job/run/transcribe.b0/result.json"
