"""Whisper's models: which there are, where their files lie, how they are fetched and converted.

The faces are `models.resolve_model`, `models.list_models` and `download.download_model`.
"""
