"""The formats of recordings that we decode: what they are called, and the one ffmpeg demuxer that may read each.

Only demuxers that open no file beside their own are named: not those of playlists, disc images and the like.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class AudioFormat:
    """A format we decode.

    `extension` and `content_type` name the stored object; `demuxer` is what ffmpeg is told with `-f`. `compressed` is
    False where the samples lie in the file as they are, so that its size bounds its length. `streamed` is True where
    no header states a length: recordings are cut from a stream, begin and end anywhere, and are joined as they are.
    """

    name: str
    extension: str
    content_type: str
    demuxer: str
    compressed: bool = True
    streamed: bool = False


WAV = AudioFormat("wav", "wav", "audio/wav", "wav", compressed=False)
WAVE64 = AudioFormat("wave64", "w64", "audio/x-w64", "w64", compressed=False)
AIFF = AudioFormat("aiff", "aiff", "audio/aiff", "aiff", compressed=False)
AU = AudioFormat("au", "au", "audio/basic", "au", compressed=False)
CAF = AudioFormat("caf", "caf", "audio/x-caf", "caf")
MP3 = AudioFormat("mp3", "mp3", "audio/mpeg", "mp3")
AAC = AudioFormat("aac", "aac", "audio/aac", "aac", streamed=True)
LOAS = AudioFormat("loas", "loas", "audio/aac", "loas", streamed=True)
AC3 = AudioFormat("ac3", "ac3", "audio/ac3", "ac3", streamed=True)
EAC3 = AudioFormat("eac3", "eac3", "audio/eac3", "eac3", streamed=True)
DTS = AudioFormat("dts", "dts", "audio/vnd.dts", "dts", streamed=True)
FLAC = AudioFormat("flac", "flac", "audio/flac", "flac")
OGG = AudioFormat("ogg", "ogg", "audio/ogg", "ogg")
OPUS = AudioFormat("opus", "opus", "audio/ogg", "ogg")
WAVPACK = AudioFormat("wavpack", "wv", "audio/x-wavpack", "wv")
APE = AudioFormat("ape", "ape", "audio/x-ape", "ape")
TTA = AudioFormat("tta", "tta", "audio/x-tta", "tta")
TAK = AudioFormat("tak", "tak", "audio/x-tak", "tak")
MUSEPACK = AudioFormat("musepack", "mpc", "audio/x-musepack", "mpc")
MUSEPACK8 = AudioFormat("musepack8", "mpc", "audio/x-musepack", "mpc8")
DSF = AudioFormat("dsf", "dsf", "audio/x-dsf", "dsf")
VOC = AudioFormat("voc", "voc", "audio/x-voc", "voc")
SPHERE = AudioFormat("sphere", "sph", "audio/x-nist", "nistsphere", compressed=False)
SOX = AudioFormat("sox", "sox", "audio/x-sox", "sox", compressed=False)
GSM = AudioFormat("gsm", "gsm", "audio/x-gsm", "gsm")
AMR = AudioFormat("amr", "amr", "audio/amr", "amr")
WMA = AudioFormat("asf", "wma", "audio/x-ms-wma", "asf")
WEBM = AudioFormat("webm", "webm", "video/webm", "matroska")
MATROSKA = AudioFormat("matroska", "mkv", "video/x-matroska", "matroska")
M4A = AudioFormat("m4a", "m4a", "audio/mp4", "mov")
MP4 = AudioFormat("mp4", "mp4", "video/mp4", "mov")
MOV = AudioFormat("mov", "mov", "video/quicktime", "mov")
MPEG_PS = AudioFormat("mpeg-ps", "mpg", "video/mpeg", "mpeg", streamed=True)
MPEG_TS = AudioFormat("mpeg-ts", "ts", "video/mp2t", "mpegts", streamed=True)
AVI = AudioFormat("avi", "avi", "video/x-msvideo", "avi")
FLV = AudioFormat("flv", "flv", "video/x-flv", "flv")
REALMEDIA = AudioFormat("realmedia", "rm", "application/vnd.rn-realmedia", "rm")
MXF = AudioFormat("mxf", "mxf", "application/mxf", "mxf")
DV = AudioFormat("dv", "dv", "video/x-dv", "dv")

#: What names of such recordings end with: the extensions that we give, and others in use for the same formats.
_BY_EXTENSION: dict[str, AudioFormat] = {
    **dict.fromkeys(("wav", "wave"), WAV),
    "w64": WAVE64,
    **dict.fromkeys(("aif", "aiff", "aifc"), AIFF),
    **dict.fromkeys(("au", "snd"), AU),
    "caf": CAF,
    **dict.fromkeys(("mp2", "mp3", "mpga"), MP3),
    **dict.fromkeys(("aac", "adts"), AAC),
    **dict.fromkeys(("loas", "latm"), LOAS),
    "ac3": AC3,
    **dict.fromkeys(("eac3", "ec3"), EAC3),
    "dts": DTS,
    "flac": FLAC,
    **dict.fromkeys(("ogg", "oga", "ogv", "spx"), OGG),
    "opus": OPUS,
    "wv": WAVPACK,
    "ape": APE,
    "tta": TTA,
    "tak": TAK,
    "mpc": MUSEPACK,
    "dsf": DSF,
    "voc": VOC,
    **dict.fromkeys(("sph", "nist"), SPHERE),
    "sox": SOX,
    "gsm": GSM,
    **dict.fromkeys(("amr", "awb"), AMR),
    **dict.fromkeys(("wma", "wmv", "asf"), WMA),
    "webm": WEBM,
    **dict.fromkeys(("mkv", "mka"), MATROSKA),
    **dict.fromkeys(("m4a", "m4b"), M4A),
    **dict.fromkeys(("mp4", "m4v", "3gp", "3g2", "3ga", "f4v"), MP4),
    **dict.fromkeys(("mov", "qt"), MOV),
    **dict.fromkeys(("mpg", "mpeg", "vob", "m2p"), MPEG_PS),
    **dict.fromkeys(("ts", "mts", "m2ts"), MPEG_TS),
    "avi": AVI,
    "flv": FLV,
    **dict.fromkeys(("rm", "ra"), REALMEDIA),
    "mxf": MXF,
    "dv": DV,
}


def guess_format(name: str) -> AudioFormat | None:
    """Return the format that a file's name promises, where there are too many to look at the bytes of each."""
    return _BY_EXTENSION.get(PurePosixPath(name).suffix.lower().removeprefix("."))


def is_named_like_a_recording(name: str) -> bool:
    """Tell whether a file is worth a look at its bytes, as its name goes."""
    return guess_format(name) is not None
