"""Questions from runs of a model that writes. Each function says by which rule it drops what is unclear.

H heads, L layers, T tokens, V vocabulary
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from reverie.engine import Model
from reverie.explain import exhibit
from reverie.explain.inside import attention_weights
from reverie.explain.reading import likeliest, next_logits, percent, quoted, read
from reverie.learn.questions import Choice, Fill, Number, Option, Question, Show, Source

PROMPTS = (
    "The capital of France is", "The cat sat on the", "Once upon a time there was a", "Water boils at one hundred",
    "The sun rises in the", "She opened the door and saw a", "The opposite of hot is", "My favourite colour is",
    "Two plus two is", "The president of the United", "He drank a cup of", "In the morning I like to drink a glass of",
    "The dog ran after the", "A week has seven", "The largest planet is", "Romeo and", "Bread is made from",
    "The parrot stopped singing because it was too", "The chef put the cake in the", "Birds can",
)  # fmt: skip
SENTENCES = (
    "The parrot stopped singing in the kitchen because it was hungry",
    "The teacher gave the book to the girl because she asked for it",
    "When the rain stopped the children went out to play in the garden",
    "The old man walked slowly to the station and waited for the train",
    "My brother bought a red car but he never learned to drive it",
)
VASWANI = Source(title="Vaswani et al., Attention Is All You Need", url="https://arxiv.org/abs/1706.03762")
BENGIO = Source(title="Bengio et al., A Neural Probabilistic Language Model",
                url="https://www.jmlr.org/papers/v3/bengio03a.html")  # fmt: skip
MARGIN = 1.5  # how many times as large the right answer must be as the next
WRONG = 3  # options beside the right one
CANDIDATES = 40  # among which tempting ones are looked for
LEAST_LOOK = 0.15  # of a head's attention, to be worth asking about
TRIES = 6  # prompts
TOKENS = 100  # whose cache is asked about


def next_word(model: Model, chance: random.Random, name: str) -> Question | None:
    """Which of these the model says next. The likeliest must be 1.5 times as likely as any other token there is."""
    prompt = chance.choice(PROMPTS)
    best = likeliest(model, _logits(model, prompt), CANDIDATES)
    words = _words(best)
    if not words or words[0] is not best[0] or best[0]["probability"] < MARGIN * best[1]["probability"]:
        return None
    if len(words) <= WRONG:
        return None
    chosen = [words[0], *chance.sample(words[1:], WRONG)]
    options = [_option(each["text"].strip(), each is words[0], _likely(best, each)) for each in chosen]
    return Choice(
        id=name, kind="choice", topic="prediction", lesson="prediction", difficulty=1, options=options, source=BENGIO,
        text=f"{model.name} reads: “{prompt} ...” Which of these tokens (words, or beginnings of words) does it find "
        "likeliest to come next?",
        hints=["Say the sentence aloud: which word comes by itself?", f"It begins with “{options[0].text[0]}”."],
        explanation="The model gives every token of its vocabulary a probability. This one came first when it ran.",
        exhibit=Show(name="sampling", prompt=prompt),
    )  # fmt: skip


def attention(model: Model, chance: random.Random, name: str) -> Question | None:
    """Where a head looks. One token must get 1.5 times as much as any other beside the first, and 15 % or more.

    Nor may it be the token that looks.
    """
    prompt = chance.choice(SENTENCES)
    reading = read(model, prompt)
    weights = attention_weights(model, reading.tokens)  # (L, H, T, T)
    places = [(layer, head) for layer in range(weights.shape[0]) for head in range(weights.shape[1])]
    queries = range(WRONG + 2, len(reading))
    for layer, head in chance.sample(places, len(places)):
        for query in chance.sample(queries, len(queries)):
            looks = weights[layer, head, query, : query + 1]
            shown = _looked_at(looks, reading.texts, chance)
            if shown:
                return _look(model, name, (prompt, reading.texts), (layer, head, query), (looks, shown))
    return None


def _looked_at(looks: Tensor, texts: Sequence[str], chance: random.Random) -> list[int]:
    """The place looked at most beside the first, and others; none, if that is unclear or texts are no words."""
    first, second = (1 + looks[1:].topk(2).indices).tolist()
    if first == len(looks) - 1 or looks[first] < max(LEAST_LOOK, MARGIN * float(looks[second])):
        return []
    seen = [text.strip().casefold() for text in texts[: len(looks)]]
    whole = [at for at in range(1, len(seen)) if texts[at].startswith(" ") and seen[at].isalpha()]
    single = [at for at in whole if seen.count(seen[at]) == 1]
    others = [at for at in single if at != first]
    return [first, *chance.sample(others, WRONG)] if first in single and len(others) >= WRONG else []


def _look(
    model: Model,
    name: str,
    said: tuple[str, Sequence[str]],
    place: tuple[int, int, int],
    found: tuple[Tensor, list[int]],
) -> Question:
    (prompt, texts), (layer, head, query), (looks, shown) = said, place, found
    whys = [f"It gets {percent(float(looks[at]))} of this head's attention." for at in shown]
    options = [_option(texts[at].strip(), at == shown[0], why) for at, why in zip(shown, whys, strict=True)]
    word = texts[query].strip()
    return Choice(
        id=name, kind="choice", topic="self-attention", lesson="self-attention", difficulty=3, options=options,
        text=f"{model.name} reads: “{prompt}”. At “{word}” (token {query}), which of these words does head {head} of "
        f"layer {layer} look at most?",
        hints=["Some heads look at the word just before, some at a word that matters for the meaning.",
               "Two of the options get little: " + _pair(options) + "."],
        explanation=f"Measured in a run. The first token is left out: there, {percent(float(looks[0]))} of the "
        "attention goes, as heads look there that find nothing to do.",
        source=VASWANI,
        exhibit=Show(name="attention", prompt=prompt, options={"layer": layer, "head": head, "query": query}),
    )  # fmt: skip


def _pair(options: Sequence[Option]) -> str:
    return " and ".join(f"“{option.text}”" for option in [each for each in options if not each.right][:2])


def layer(model: Model, chance: random.Random, name: str) -> Question | None:
    """After which layer the final word is first. Not the last one, and it must stay first, and never have been before.

    There it must be 1.5 times as likely as the next, and 1.5 times less likely than the first one layer earlier.
    """
    for prompt in chance.sample(PROMPTS, TRIES):
        data = exhibit("layers", model, prompt, top=2).data
        rows, decided, word = data["layers"], data["decided"], data["final"]["text"].strip()
        depth, firsts = len(rows) - 1, [row["layer"] for row in rows if row["rank"] == 1]
        if depth > WRONG and 1 < decided < depth and firsts[0] == decided and word.isalpha():
            before, (best, second) = rows[decided - 1], rows[decided]["top"]
            least = max(second["probability"], rows[decided - 1]["probability"])
            if min(best["probability"], before["top"][0]["probability"]) >= MARGIN * least:
                return _decision(model, name, (prompt, word), (rows, decided), chance)
    return None


def _decision(
    model: Model, name: str, said: tuple[str, str], found: tuple[list[dict[str, Any]], int], chance: random.Random
) -> Question:
    (prompt, word), (rows, decided) = said, found
    depth = len(rows) - 1
    later = chance.randint(decided + 1, depth)
    others = [each for each in range(1, depth + 1) if each not in (decided, later)]
    chosen = [decided, later, *chance.sample(others, WRONG - 1)]
    options = [_option(f"after layer {each}", each == decided, _said(rows[each])) for each in chosen]
    return Choice(
        id=name, kind="choice", topic="layers", lesson="layers", difficulty=3, options=options,
        text=f"{model.name} reads “{prompt} ...” and says “{word}”. It has {depth} layers. If its head read the state "
        f"after every layer, where would “{word}” first be the likeliest word?",
        hints=["Early layers gather what words mean; the decision falls late, but seldom in the last layer.",
               f"After layer {decided - 1} it was not first yet."],
        explanation=f"This is the logit lens: after layer {decided} “{word}” came first, and stayed so.",
        source=Source(title="Belrose et al., Eliciting Latent Predictions from Transformers with the Tuned Lens",
                      url="https://arxiv.org/abs/2303.08112"),
        exhibit=Show(name="layers", prompt=prompt),
    )  # fmt: skip


def _said(row: dict[str, Any]) -> str:
    top = row["top"][0]
    token = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in top["text"])
    return f"There, {quoted(token)} was first ({percent(top['probability'])}); the word had rank {row['rank']:,}."


def softmax(model: Model, chance: random.Random, name: str) -> Question | None:
    """The share of the first of three words at a temperature; between 5 % and 95 %, so that it must be worked out."""
    prompt, temperature = chance.choice(PROMPTS), chance.choice((0.5, 1.0, 2.0))
    words = _words(likeliest(model, _logits(model, prompt), CANDIDATES))[:3]
    if len(words) < 3:
        return None
    logits = [round(each["logit"], 1) for each in words]
    powers = [math.exp((logit - logits[0]) / temperature) for logit in logits]
    share = 100 / sum(powers)
    if not 5 < share < 95:
        return None
    listed = ", ".join(f"“{each['text'].strip()}” {logit}" for each, logit in zip(words, logits, strict=True))
    worked = " + ".join(f"{power:.3f}" for power in powers)
    return Fill(
        id=name, kind="number", topic="prediction", lesson="prediction", difficulty=3, source=VASWANI,
        text=f"After “{prompt} ...” {model.name} gave these scores (logits): {listed}. If only these three could be "
        f"said, what would be the probability of the first at temperature {temperature:g}, in percent?",
        hints=["Divide every score by the temperature, then take softmax: e to the power of each, over their sum.",
               f"Only differences count. Taking the first score from all, the powers are {worked}."],
        explanation="Softmax makes shares of scores; a low temperature makes the strong stronger.",
        number=Number(value=share, tolerance=1.0, unit="%", steps=f"100 / ({worked}) = {share:.1f}."),
        exhibit=Show(name="sampling", prompt=prompt, options={"temperature": temperature}),
    )  # fmt: skip


def parameters(model: Model, chance: random.Random, name: str) -> Question | None:
    """How many numbers a matrix of the model has."""
    rows = [row for row in exhibit("parameters", model, "numbers").data["rows"] if len(row["shape"]) == 2]
    row = chance.choice(rows)
    (height, width), times = row["shape"], row["times"]
    every = f"Each of its {times} layers has one of its own. " if times > 1 else ""
    total = f" x {times}" if times > 1 else ""
    return Fill(
        id=name, kind="number", topic="layers", lesson="layers", difficulty=2, source=BENGIO,
        text=f"In {model.name} the matrix {row['name']} ({row['what']}) has {height:,} rows and {width:,} columns. "
        f"{every}How many parameters is that in all?",
        hints=["Every cell of the table is one parameter.", f"One has {height:,} x {width:,}."],
        explanation="A model's parameters are the numbers in its matrices, counted like the fields of a board.",
        number=Number(value=float(row["total"]), unit="", steps=f"{height:,} x {width:,}{total} = {row['total']:,}."),
        exhibit=Show(name="parameters", prompt="numbers"),
    )  # fmt: skip


def cache(model: Model, chance: random.Random, name: str) -> Question | None:
    """How many bytes the cache keeps, by what a run measured. All layers must keep the same."""
    prompt = chance.choice(SENTENCES)
    data = exhibit("cache", model, prompt).data
    first, depth, kept = data["layers"][0], len(data["layers"]), TOKENS * data["token_bytes"]
    heads, width = first["heads"], first["width"]
    each = first["bytes"] // (2 * first["tokens"] * heads * width)
    if kept != TOKENS * depth * 2 * heads * width * each:
        return None
    steps = f"{TOKENS} tokens x {depth} layers x 2 x {heads} heads x {width} numbers x {each} bytes = {kept:,}."
    return Fill(
        id=name, kind="number", topic="prediction", lesson="prediction", difficulty=3,
        text=f"{model.name} has {depth} layers. Each keeps a key and a value of every token, in {heads} heads of "
        f"{width} numbers, {each} bytes a number. How many bytes does the cache keep for {TOKENS} tokens?",
        hints=["Work out one token in one layer first: a key and a value.",
               f"That is 2 x {heads} x {width} x {each} = {2 * heads * width * each:,} bytes."],
        explanation="The cache grows by the same amount with every token, which is why long texts need memory.",
        source=Source(title="Ainslie et al., GQA: Training Generalized Multi-Query Transformer Models",
                      url="https://arxiv.org/abs/2305.13245"),
        number=Number(value=float(kept), unit="bytes", steps=steps), exhibit=Show(name="cache", prompt=prompt),
    )  # fmt: skip


def _logits(model: Model, prompt: str) -> Tensor:
    return next_logits(model, read(model, prompt).tokens)


def _words(candidates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those candidates that begin a word and are two letters or more, no two alike, in their order."""
    kept: dict[str, dict[str, Any]] = {}
    for each in candidates:
        text = each["text"]
        if text.startswith(" ") and text.strip().isalpha() and len(text) > 2:
            kept.setdefault(text.strip().casefold(), each)
    return list(kept.values())


def _likely(candidates: Sequence[dict[str, Any]], one: dict[str, Any]) -> str:
    rank = next(rank for rank, each in enumerate(candidates, 1) if each is one)
    return f"Its probability is {percent(one['probability'])}; that is rank {rank} of all tokens."


def _option(text: str, right: bool, why: str) -> Option:
    return Option(text=text, right=right, why=why)
