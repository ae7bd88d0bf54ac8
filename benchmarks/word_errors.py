"""Word errors as the field counts them: by jiwer, of texts that whisper's normalisers made alike.

Imported, or a program of its own, for a Python that has `whisper-normalizer` where this one has not:

    python benchmarks/word_errors.py LANGUAGE < pairs.json     [[truth, text], …] to [[units, errors], …]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

#: Languages whose errors are counted in characters.
_CHARACTERS = frozenset({"zh", "ja", "ko"})


def counter(language: str) -> Callable[[str, str], tuple[int, int]]:
    """Return a function that compares a truth with a text: how many words (characters) it has, how many are wrong."""
    import jiwer
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()

    def count(truth: str, text: str) -> tuple[int, int]:
        said, heard = normalise(truth), normalise(text)
        if language in _CHARACTERS:
            result = jiwer.process_characters(said.replace(" ", ""), heard.replace(" ", ""))
        else:
            result = jiwer.process_words(said, heard)
        errors = result.substitutions + result.deletions + result.insertions
        return result.hits + result.substitutions + result.deletions, errors

    return count


def count_errors(pairs: Sequence[tuple[str, str]], language: str, python: str) -> list[tuple[int, int]]:
    """Count the errors of several texts by another Python: units and errors of each pair of truth and text."""
    done = subprocess.run(
        [python, __file__, language], input=json.dumps(pairs), check=True, capture_output=True, text=True
    )
    return [(units, errors) for units, errors in json.loads(done.stdout)]


if __name__ == "__main__":
    count = counter(sys.argv[1])
    print(json.dumps([count(truth, text) for truth, text in json.load(sys.stdin)]))
