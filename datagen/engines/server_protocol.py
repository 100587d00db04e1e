"""The OpenAI protocol as plain data: what is sent, what comes back, and what each failure means."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from datagen.engines.text import make_sample, plain_text
from datagen.errors import EngineUnavailable, RequestFailed
from datagen.models import Completion, Request, Sample


class Again(Exception):
    """Worth another try, after `wait` seconds if the server said so; `silent`: nobody answered, or only in distress."""

    def __init__(self, reason: str, *, wait: float | None = None, silent: bool = False) -> None:
        self.wait, self.silent = wait, silent
        super().__init__(reason)


class Refused(RequestFailed):
    """The server will not take this request, however often it is sent."""


def payload(model: str, request: Request, n: int, seed: int, *, plain: bool) -> tuple[str, dict[str, Any]]:
    """(path, body) for n samples from `seed` on; plain: no roles, a text to go on with."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
    }
    body |= {"n": n} if n > 1 else {}
    body |= {"stop": list(sampling.stop)} if sampling.stop else {}
    if request.prompt is not None:
        return "/completions", body | {"prompt": request.prompt}
    if plain:
        return "/completions", body | {"prompt": plain_text(request.messages)}
    begun = (
        bool(request.messages) and request.messages[-1].role == "assistant"
    )  # vLLM's and SGLang's servers go on with it
    body |= {"continue_final_message": True, "add_generation_prompt": False} if begun else {}
    return "/chat/completions", body | {"messages": [asdict(message) for message in request.messages]}


def read_completion(data: object) -> Completion:
    """The samples of an answer; Again if it holds none, is no answer, or is cut. Token counts may be missing."""
    if not isinstance(data, Mapping):
        raise Again("the answer is not JSON")
    choices = data.get("choices")
    if not choices:
        raise Again(f"the answer holds no choices{_message(data)}")
    try:
        samples = tuple(_sample(choice) for choice in sorted(choices, key=lambda c: c.get("index") or 0))
    except (AttributeError, KeyError, TypeError) as error:
        raise Again("the answer's choices cannot be read") from error
    return Completion(samples, _tokens(data, "prompt_tokens"), _tokens(data, "completion_tokens"))


def _tokens(data: Mapping[str, Any], name: str) -> int:
    """A count of the answer's usage; 0 where it is missing or no number."""
    usage = data.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else 0
    return int(count) if isinstance(count, int | float) and 0 < count < math.inf else 0


def _sample(choice: Mapping[str, Any]) -> Sample:
    if "text" in choice:
        return make_sample(choice["text"] or "", choice.get("finish_reason"))
    message = choice["message"]
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    return make_sample(message.get("content") or "", choice.get("finish_reason"), reasoning=reasoning)


def read_models(data: object) -> list[str] | None:
    """The names in the answer of GET /models; None if it is not such an answer."""
    models = data.get("data") if isinstance(data, Mapping) else None
    return (
        [str(model.get("id")) for model in models if isinstance(model, Mapping)] if isinstance(models, list) else None
    )


def judge(error: Exception, url: str) -> Exception:
    """What a failed exchange means: Again, Refused, or EngineUnavailable where no request can succeed."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return judge_status(error, url)
    if isinstance(error, openai.APITimeoutError):
        return Again("no answer in time (request_timeout)", silent=True)
    if isinstance(error, openai.APIConnectionError):
        return Again(f"connection failed: {error.__cause__ or error}", silent=True)
    return Again(f"the answer cannot be read ({error})")


def judge_status(error: Any, url: str) -> Exception:
    """Like `judge`, for an openai.APIStatusError."""
    status, said = error.status_code, f"HTTP {error.status_code}{_message(error.body)}"
    if status in (401, 403):
        return EngineUnavailable(f"HTTP {status}: the key was not accepted", where=url, hint="Set OPENAI_API_KEY")
    if status == 402 or error.code == "insufficient_quota":
        return EngineUnavailable(said, where=url, hint="Top up the account, then run the same command to go on")
    if status == 404:
        return EngineUnavailable(said, where=url, hint="Check --model and --base-url, which mostly ends in /v1")
    if status in (408, 409, 425, 429) or status >= 500:
        return Again(said, wait=retry_after(error.response.headers, time.time()), silent=True)
    return Refused(said)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a Retry-After header asks to wait, in either of its forms; None without one that can be read."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now)
    return None if math.isnan(seconds) else max(0.0, seconds)


def _until(date: str, now: float) -> float:
    """Seconds from now to a date of HTTP; NaN if it is none."""
    parsed = email.utils.parsedate_tz(date)
    try:
        return email.utils.mktime_tz(parsed) - now if parsed else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _message(body: object) -> str:
    """What the server says about an error, in one short piece to append."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    said = error.get("message") or error.get("detail") if isinstance(error, Mapping) else error
    return f": {' '.join(str(said).split())[:200]}" if said else ""
