"""Transcribing what lies in buckets: its sources, its objects as partitions, and the versions of their transcripts."""
