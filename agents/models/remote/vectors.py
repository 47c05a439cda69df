"""How a vector is asked for, and how it stands in a reply."""

from base64 import b64decode, b64encode
from hashlib import blake2b

import numpy as np

from agents.models.model import ChatMessage, ChatRequest, Sampling
from engine.calls import Call
from engine.records import Vector

ROLE = "embedding"


def embedding_request(model: str, text: str) -> ChatRequest:
    """Return the request for the vector of *text*; its seed is made of that.

    All share one identity, and pauses between attempts must differ.
    """
    seed = blake2b(text.encode(), digest_size=6).digest()
    return ChatRequest(
        call=Call(episode=0, user=0, session=0, step=0, role=ROLE, occurrence=0),
        sampling=Sampling(model=model, temperature=None, max_tokens=0),
        messages=(ChatMessage(role="user", content=text),),
        seed=int.from_bytes(seed, "big"),
    )


def encoded(vector: Vector) -> str:
    """Return *vector* as text."""
    return b64encode(vector.tobytes()).decode()


def decoded(text: str) -> Vector:
    """Return the vector that `encoded` made *text* of."""
    return np.frombuffer(b64decode(text), np.int8)
