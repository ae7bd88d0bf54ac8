"""The languages whisper knows, and whether a model speaks one.

The table is whisper.cpp's own (`g_lang` of version 1.8), in its order, so that an API process can refuse an unknown
language without loading the engine; a test compares it with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stt_core.errors import LanguageChoiceError, UnknownLanguageError

#: Asks the engine to detect the language; of a whole recording, once, where the voice is.
AUTO = "auto"
#: Of a recording: to detect it on each chunk anew.
AUTO_PER_CHUNK = "auto-per-chunk"
#: The only language of models without others.
ENGLISH = "en"
#: Code to English name.
LANGUAGES: dict[str, str] = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}
#: Languages written without spaces between words: there, every token counts as a word.
UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})


class SpeaksLanguages(Protocol):
    """What `check_language` needs to know of a model."""

    @property
    def name(self) -> str:
        """Name the user chose."""
        ...

    @property
    def multilingual(self) -> bool:
        """Whether it knows other languages than English."""
        ...


def check_language(language: str, model: SpeaksLanguages | None = None) -> str:
    """Return the code for `language`: a code or English name of the table, `auto` or `auto-per-chunk`.

    Args:
        language: What the caller asked for; case and surrounding spaces do not matter.
        model: The model that is to transcribe, when it is known already.

    Raises:
        UnknownLanguageError: Whisper does not know it, or the model speaks English only.
    """
    wanted = language.strip().lower()
    code = wanted if wanted in _DETECTED or wanted in LANGUAGES else _CODES.get(wanted)
    if code is None:
        raise UnknownLanguageError(
            f"Whisper does not know the language {language[:40]!r}.",
            mend="Give an ISO 639-1 code such as en, de or fr, or auto or auto-per-chunk to detect it.",
        )
    if model is not None and not model.multilingual and code not in (*_DETECTED, ENGLISH):
        raise UnknownLanguageError(
            f"The model {model.name} speaks English only, not {LANGUAGES[code]}.",
            mend="Choose a model without .en in its name (`stt models list`), or leave the language out.",
        )
    return code


def check_languages(
    languages: Sequence[str], *, language: str | None = None, model: SpeaksLanguages | None = None
) -> tuple[str, ...]:
    """Return the codes that `auto` is to choose from, each once and sorted; none where no choice is asked for.

    Args:
        languages: Codes or English names, as the caller gave them.
        language: What the caller asked for beside them: there is a choice with `auto` alone, or nothing.
        model: The model that is to transcribe, when it is known already.

    Raises:
        LanguageChoiceError: Whisper does not know one, or there is nothing to choose for this language or model.
    """
    if not languages:
        return ()
    if language is not None and language.strip().lower() != AUTO:
        raise LanguageChoiceError(
            f"language={language[:40]!r} leaves nothing to choose from languages.",
            mend=f"Leave one of the two out; languages limits what language={AUTO} chooses from.",
        )
    if model is not None and not model.multilingual:
        raise LanguageChoiceError(
            f"The model {model.name} speaks English only: there is nothing to choose from languages.",
            mend="Choose a model without .en in its name (`stt models list`), or leave languages out.",
        )
    try:
        codes = {check_language(one) for one in languages}
    except UnknownLanguageError as error:
        raise LanguageChoiceError(f"languages: {error.message}", mend=_MEND_CODES) from error
    if detected := codes & set(_DETECTED):
        raise LanguageChoiceError(f"languages: {min(detected)!r} is not a language.", mend=_MEND_CODES)
    return tuple(sorted(codes))


def resolve_languages(
    language: str | None, languages: Sequence[str], *, default: str, model: SpeaksLanguages | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the language of a job, and the codes that `auto` is to choose from; one alone is the job's language.

    Args:
        language: As the caller gave it, if so.
        languages: The same.
        default: The language where the caller gave neither.
        model: The model that is to transcribe, when it is known already.

    Raises:
        UnknownLanguageError: Whisper or the model does not know the language.
        LanguageChoiceError: As `check_languages`.
    """
    codes = check_languages(languages, language=language, model=model)
    if len(codes) == 1:
        return codes[0], ()
    return check_language(AUTO if codes else language or default, model), codes


_MEND_CODES = "Give ISO 639-1 codes such as de,en."
_DETECTED = (AUTO, AUTO_PER_CHUNK)
_CODES = {name: code for code, name in LANGUAGES.items()}
