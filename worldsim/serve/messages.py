"""What a page may say, each message a small JSON object; and what it is told.

A frame goes out as bytes: the length of its header (4 bytes, little endian), the header as JSON, the imagined and the
true frame as JPEG.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worldsim.errors import EnvError

__all__ = [
    "MAX_BYTES",
    "MAX_PROMPT",
    "Act",
    "BackTo",
    "Branch",
    "Camera",
    "Drop",
    "Guidance",
    "Horizon",
    "Message",
    "Pace",
    "Pause",
    "Policy",
    "Prompt",
    "Reset",
    "Rewind",
    "Sampler",
    "Seen",
    "Step",
    "World",
    "frame_bytes",
    "jpeg",
    "read_message",
]

MAX_PROMPT = 200
"""Characters of a prompt."""
MAX_BYTES = 4096
"""Bytes of a message."""
_JPEG_QUALITY = 92

Unit = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=MAX_PROMPT)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Act(_Message):
    """The newest input; it holds until the next one."""

    do: Literal["act"]
    axes: Annotated[list[Unit], Field(max_length=64)] = []
    choices: Annotated[list[Count], Field(max_length=64)] = []
    input: Count
    """Number of the input, given back with the first frame that it led to."""


class Seen(_Message):
    """A frame is on the screen; the next one may come."""

    do: Literal["seen"]
    frame: Count


class Pause(_Message):
    """Stop or go on."""

    do: Literal["pause"]
    paused: bool


class Step(_Message):
    """One step, while paused."""

    do: Literal["step"]


class Rewind(_Message):
    """Some steps back."""

    do: Literal["rewind"]
    steps: Annotated[int, Field(ge=1, le=600)]


class Reset(_Message):
    """Another drive."""

    do: Literal["reset"]
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    prompt: Text = ""
    variation: Annotated[dict[Annotated[str, Field(max_length=64)], Text], Field(max_length=16)] = {}


class Branch(_Message):
    """Keep this moment."""

    do: Literal["branch"]


class BackTo(_Message):
    """Go back to a kept moment."""

    do: Literal["back"]
    branch: Count


class Drop(_Message):
    """Forget a kept moment."""

    do: Literal["drop"]
    branch: Count


class Prompt(_Message):
    """Ask both worlds for something else."""

    do: Literal["prompt"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT)]


class Camera(_Message):
    """Show the truth from another camera."""

    do: Literal["camera"]
    name: Annotated[str, Field(min_length=1, max_length=64)]


class Guidance(_Message):
    """How much stronger than learned a prompt acts."""

    do: Literal["guidance"]
    value: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class World(_Message):
    """Go to the world of another bundled model."""

    do: Literal["world"]
    model: Annotated[str, Field(min_length=1, max_length=64)]


class Policy(_Message):
    """Let a policy drive, or nobody but the person."""

    do: Literal["policy"]
    name: Annotated[str, Field(max_length=64)] | None


class Sampler(_Message):
    """Denoiser calls per frame."""

    do: Literal["sampler"]
    steps: Annotated[int, Field(ge=1, le=8)]


class Horizon(_Message):
    """Steps after which the imagined episode is over."""

    do: Literal["horizon"]
    steps: Annotated[int, Field(ge=1, le=5000)]


class Pace(_Message):
    """Real time, or as fast as it goes."""

    do: Literal["pace"]
    real_time: bool


Message = (
    Act
    | Seen
    | Pause
    | Step
    | Rewind
    | Reset
    | Branch
    | BackTo
    | Drop
    | Prompt
    | Camera
    | Guidance
    | World
    | Policy
    | Sampler
    | Horizon
    | Pace
)
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="do")])


def read_message(text: str) -> Message:
    """Return a page's message.

    Raises:
        EnvError: If it is not one of those above.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise EnvError(f"not a message of the player: {where}{': ' if where else ''}{first['msg']}") from None


def frame_bytes(header: dict[str, Any], imagined: np.ndarray, true: np.ndarray) -> bytes:
    """Return a frame message; the header gains the lengths of the two images."""
    images = [jpeg(frame) for frame in (imagined, true)]
    text = json.dumps({**header, "sizes": [len(image) for image in images]}, ensure_ascii=False).encode()
    return struct.pack("<I", len(text)) + text + b"".join(images)


def jpeg(frame: np.ndarray) -> bytes:
    """Return a frame (H, W, 3) uint8 as JPEG."""
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return out.getvalue()
