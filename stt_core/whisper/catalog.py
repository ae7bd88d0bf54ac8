"""The models that can be asked for by name: what whisper.cpp's maintainers publish, and the bundled demo.

Names, file names and SHA-1 digests are those of whisper.cpp's `models/README.md` and of the README of the repository
that `WHISPER_MODELS_URL` points at; sizes are those of the published files, bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEMO = "demo"
#: OpenAI's own models, which programs written for its API ask for: each stands for `WHISPER_MODEL` at its routes alone.
HOSTED = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")


@dataclass(frozen=True)
class CatalogEntry:
    """A model that has a name. `sha1` is empty for what is bundled and so never downloaded."""

    name: str
    file: str
    size_bytes: int
    sha1: str
    description: str
    #: What anybody who selects the model must be told.
    notice: str | None = None
    bundled: Path | None = None


def _published(name: str, size_bytes: int, sha1: str) -> CatalogEntry:
    languages = "English only" if ".en" in name else "multilingual"
    quantised = f", quantised to {name.rsplit('-', 1)[1]}" if "-q" in name else ""
    return CatalogEntry(name, f"ggml-{name}.bin", size_bytes, sha1, f"Whisper, {languages}{quantised}")


_DEMO_FILE = "ggml-demo.en-q5_1.bin"

CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        _published("tiny", 77_691_713, "bd577a113a864445d4c299885e0cb97d4ba92b5f"),
        _published("tiny-q5_1", 32_152_673, "2827a03e495b1ed3048ef28a6a4620537db4ee51"),
        _published("tiny-q8_0", 43_537_433, "19e8118f6652a650569f5a949d962154e01571d9"),
        _published("tiny.en", 77_704_715, "c78c86eb1a8faa21b369bcd33207cc90d64ae9df"),
        _published("tiny.en-q5_1", 32_166_155, "3fb92ec865cbbc769f08137f22470d6b66e071b6"),
        _published("tiny.en-q8_0", 43_550_795, "802d6668e7d411123e672abe4cb6c18f12306abb"),
        _published("base", 147_951_465, "465707469ff3a37a2b9b8d8f89f2f99de7299dac"),
        _published("base-q5_1", 59_707_625, "a3733eda680ef76256db5fc5dd9de8629e62c5e7"),
        _published("base-q8_0", 81_768_585, "7bb89bb49ed6955013b166f1b6a6c04584a20fbe"),
        _published("base.en", 147_964_211, "137c40403d78fd54d454da0f9bd998f78703390c"),
        _published("base.en-q5_1", 59_721_011, "d26d7ce5a1b6e57bea5d0431b9c20ae49423c94a"),
        _published("base.en-q8_0", 81_781_811, "bb1574182e9b924452bf0cd1510ac034d323e948"),
        _published("small", 487_601_967, "55356645c2b361a969dfd0ef2c5a50d530afd8d5"),
        _published("small-q5_1", 190_085_487, "6fe57ddcfdd1c6b07cdcc73aaf620810ce5fc771"),
        _published("small-q8_0", 264_464_607, "bcad8a2083f4e53d648d586b7dbc0cd673d8afad"),
        _published("small.en", 487_614_201, "db8a495a91d927739e50b3fc1cc4c6b8f6c2d022"),
        _published("small.en-q5_1", 190_098_681, "20f54878d608f94e4a8ee3ae56016571d47cba34"),
        _published("medium", 1_533_763_059, "fd9727b6e1217c2f614f9b698455c4ffd82463b4"),
        _published("medium-q5_0", 539_212_467, "7718d4c1ec62ca96998f058114db98236937490e"),
        _published("medium-q8_0", 823_369_779, "e66645948aff4bebbec71b3485c576f3d63af5d6"),
        _published("medium.en", 1_533_774_781, "8c30f0e44ce9560643ebd10bbe50cd20eafd3723"),
        _published("medium.en-q5_0", 539_225_533, "bb3b5281bddd61605d6fc76bc5b92d8f20284c3b"),
        _published("large-v1", 3_094_623_691, "b1caaf735c4cc1429223d5a74f0f4d0b9b59a299"),
        _published("large-v2", 3_094_623_691, "0f4c8e34f21cf1a914c59d8b3ce882345ad349d6"),
        _published("large-v2-q5_0", 1_080_732_091, "00e39f2196344e901b3a2bd5814807a769bd1630"),
        _published("large-v3", 3_095_033_483, "ad82bf6a9043ceed055076d0fd39f5f186ff8062"),
        _published("large-v3-q5_0", 1_081_140_203, "e6e2ed78495d403bef4b7cff42ef4aaadcfea8de"),
        _published("large-v3-turbo", 1_624_555_275, "4af2b29d7ec73d781377bfd1758ca957a807e941"),
        _published("large-v3-turbo-q5_0", 574_041_195, "e050f7970618a659205450ad97eb95a18d69c9ee"),
        _published("large-v3-turbo-q8_0", 874_188_075, "01bf15bedffe9f39d65c1b6ff9b687ea91f59e0e"),
        CatalogEntry(
            DEMO,
            _DEMO_FILE,
            8_169_828,
            "",
            "Toy model for demonstrations and tests, English only, bundled",
            notice="The model demo knows 266 English words of synthetic speech and nothing else; it is for trying the "
            "system out. For real recordings run `stt models download base` and set WHISPER_MODEL=base.",
            bundled=Path(__file__).parent / "data" / _DEMO_FILE,
        ),
    )
}
