"""What an OpenAI client may send: requests under /v1, and of /tokenize. Whatever is not here is refused by its name.

Numbers have OpenAI's bounds. Settings that a request leaves out are Reverie's own (`types.LMRequest`), besides the
`MOST_*_TOKENS` below. Beyond OpenAI's fields there are top_k, min_p and repetition_penalty, and for pictures seed,
negative_prompt, guidance_scale, num_inference_steps, sampler and strength: clients send them as `extra_body`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from reverie.serve.shapes import Long, Shape, Short
from reverie.types import BOUNDS, SAMPLERS

MOST_N = 8
MOST_CHOICES = 16  # prompts times n
COMPLETION_TOKENS, CHAT_TOKENS = 16, 1024  # that are written at most, where a request does not say
MOST_PROMPT_TOKENS = 200_000
MOST_INPUTS = 256  # of one request for embeddings


def _within(name: str) -> Any:
    least, most = BOUNDS[name]
    return Field(ge=least, le=most)


def _between(least: float, most: float) -> Any:
    return Field(ge=least, le=most, allow_inf_nan=False)


Seed = Annotated[int | None, _within("seed")]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(max_length=MOST_PROMPT_TOKENS)]
Texts = Annotated[list[Long], Field(min_length=1, max_length=MOST_INPUTS)]


# --- answers and texts ---


class StreamOptions(Shape):
    """include_usage: one more chunk at the end tells how many tokens it was."""

    include_usage: bool | None = None


class Sampling(Shape):
    """How tokens are chosen, and how the reply comes."""

    model: Short | None = None
    temperature: Annotated[float | None, _between(0, 2)] = None
    top_p: Annotated[float | None, _between(0, 1)] = None
    n: Annotated[int | None, Field(ge=1, le=MOST_N)] = None
    seed: Seed = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    logit_bias: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, _between(-100, 100)]] | None,
        Field(max_length=1024),
    ] = None
    frequency_penalty: Annotated[float | None, _between(-2, 2)] = None
    presence_penalty: Annotated[float | None, _between(-2, 2)] = None
    max_tokens: Annotated[int | None, _within("max_tokens")] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: Annotated[int | None, _within("top_k")] = None
    min_p: Annotated[float | None, _within("min_p")] = None
    repetition_penalty: Annotated[float | None, _within("repetition_penalty")] = None


class TextPart(Shape):
    """A part of a message; pictures and sounds cannot be read."""

    type: Literal["text", "input_text", "output_text"]
    text: Long


class Turn(Shape):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Long | Annotated[list[TextPart], Field(min_length=1, max_length=100)]


Turns = Annotated[list[Turn], Field(min_length=1, max_length=1000)]


class NamedSchema(Shape):
    """A JSON schema. strict makes no difference: it is always kept."""

    model_config = ConfigDict(protected_namespaces=())

    name: Short
    schema_: dict[str, JsonValue] = Field(alias="schema")
    description: Long | None = None
    strict: bool | None = None


class AsText(Shape):
    """Anything."""

    type: Literal["text"]


class AsObject(Shape):
    """Any JSON object."""

    type: Literal["json_object"]


class AsSchema(Shape):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class ChatRequest(Sampling):
    """POST /v1/chat/completions."""

    messages: Turns
    max_completion_tokens: Annotated[int | None, _within("max_tokens")] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    response_format: Annotated[AsText | AsObject | AsSchema | None, Field(discriminator="type")] = None


class CompletionRequest(Sampling):
    """POST /v1/completions. With echo, max_tokens may be 0: only the prompt's own log-probabilities are wanted."""

    prompt: (
        Long
        | Annotated[list[Long], Field(min_length=1, max_length=MOST_CHOICES)]
        | Annotated[TokenIds, Field(min_length=1)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_CHOICES)]
    )
    max_tokens: Annotated[int | None, Field(ge=0, le=BOUNDS["max_tokens"][1])] = None
    logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    echo: bool | None = None


class SchemaInText(NamedSchema):
    """JSON that fits a schema, as /v1/responses has it."""

    type: Literal["json_schema"]


class TextOptions(Shape):
    """What kind of text it is to be."""

    format: Annotated[AsText | AsObject | SchemaInText | None, Field(discriminator="type")] = None


class Said(Turn):
    """A message among the input of a response."""

    type: Literal["message"] = "message"


class ResponseRequest(Shape):
    """POST /v1/responses. Nothing is kept, so store must be false or left out, and no response continues another."""

    model: Short | None = None
    input: Long | Annotated[list[Said], Field(min_length=1, max_length=1000)]
    instructions: Long | None = None
    temperature: Annotated[float | None, _between(0, 2)] = None
    top_p: Annotated[float | None, _between(0, 1)] = None
    max_output_tokens: Annotated[int | None, _within("max_tokens")] = None
    seed: Seed = None
    text: TextOptions | None = None
    stream: bool | None = None
    store: Literal[False] | None = None


# --- embeddings, tokens ---


class EmbeddingRequest(Shape):
    """POST /v1/embeddings, of texts."""

    model: Short | None = None
    input: Long | Texts
    encoding_format: Literal["float", "base64"] | None = None


class TokenizeRequest(Shape):
    """POST /tokenize: how a model reads a prompt, or a conversation up to where its answer begins.

    add_special_tokens: false leaves out the token that begins a document, where a model wants one.
    """

    model: Short | None = None
    prompt: Long | None = None
    messages: Turns | None = None
    add_special_tokens: bool = True


class DetokenizeRequest(Shape):
    """POST /detokenize."""

    model: Short | None = None
    tokens: TokenIds


# --- pictures ---


class PictureRequest(Shape):
    """POST /v1/images/generations. partial_images: how many unfinished pictures a stream shows."""

    model: Short | None = None
    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    n: Annotated[int | None, Field(ge=1, le=MOST_N)] = None
    size: Annotated[str | None, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")] = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = None
    seed: Seed = None
    negative_prompt: Annotated[str | None, Field(max_length=32_000)] = None
    guidance_scale: Annotated[float | None, _within("guidance")] = None
    num_inference_steps: Annotated[int | None, _within("steps")] = None
    sampler: Literal[SAMPLERS] | None = None  # type: ignore[valid-type]  # a tuple of names


class EditRequest(PictureRequest):
    """POST /v1/images/edits, the fields of the form beside `image` and `mask`; a form holds nothing but text."""

    model_config = ConfigDict(strict=False)

    strength: Annotated[float | None, _within("strength")] = None
