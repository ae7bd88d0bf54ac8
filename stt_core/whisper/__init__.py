"""Speech to text by a whisper.cpp executable: the models it reads, the processes that run it, what it answers.

The faces are `transcriber.Transcriber`, `models.resolve_model`, `models.list_models`, `download.download_model` and
`languages.check_language`. Nothing is imported here: `stt-whisper-cli` lives in this package too and must start fast.
"""
