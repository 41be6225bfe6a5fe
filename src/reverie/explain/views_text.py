"""Views of the exhibits of models that write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reverie.explain.reading import percent, quoted
from reverie.explain.views import Bars, Lines, Matrix, Table, View, Viewer, Words, shades, shown

MANY = 32  # rows of a table, beyond which one does not look through them
SURPRISING_BITS = 12  # the shade of a token that surprises so much is full
LEAST_SHARE = 1e-4  # below, the digits tell nothing


def tokens(data: Mapping[str, Any]) -> Iterable[View]:
    """The text cut into its pieces with their numbers, and of a short one the bytes too."""
    rows = data["tokens"]
    alternating = [0.2 if at % 2 else 0.5 for at in range(len(rows))]
    yield Words("", [row["text"] for row in rows], alternating, [str(row["id"]) for row in rows])
    if len(rows) <= MANY:
        cells = [[row["text"], str(row["id"]), " ".join(f"{byte:02X}" for byte in row["bytes"])] for row in rows]
        yield Table("Each token", ["token", "number", "bytes"], cells)


def embedding(data: Mapping[str, Any]) -> Iterable[View]:
    """The neighbours by their cosine."""
    near = data["neighbours"][1:]
    title = f"Nearest to “{data['tokens'][data['place']].strip()}” (cosine)"
    yield Bars(title, [row["text"] for row in near], [row["cosine"] for row in near])


def merges(data: Mapping[str, Any]) -> Iterable[View]:
    """Each word, a line a merge."""
    for word in data["words"]:
        rows = [[_joined(step["pieces"], " | "), _merged(step)] for step in word["steps"]]
        yield Table(f"“{word['word'].strip()}”", ["pieces", "merged"], rows)


def _merged(step: Mapping[str, Any]) -> str:
    return "" if not step["pair"] else f"{_joined(step['pair'], ' + ')} (rule {step['rank']:,})"


def _joined(pieces: Sequence[str], sign: str) -> str:
    return sign.join(piece.replace(" ", "␣") for piece in pieces)


def attention(data: Mapping[str, Any]) -> Iterable[View]:
    """Where the chosen token looks as shaded words, the whole map, and the arithmetic of the pair."""
    texts, query, weights = data["tokens"], data["query"], data["weights"]
    looks = weights[query]
    where = {
        "head": f"layer {data['layer']}, head {data['head']}",
        "average": f"layer {data['layer']}, mean of its heads",
        "rollout": f"through the layers up to {data['layer']}",
    }[data["view"]]
    yield Words(
        f"Where “{texts[query].strip()}” looks ({where})",
        texts[: query + 1],
        shades(looks[: query + 1]),
        [percent(look) if look >= 0.005 else "" for look in looks[: query + 1]],
    )
    yield Matrix(f"Each row is a token that looks, each column one looked at ({where})", texts, texts, _causal(weights))
    yield _arithmetic(data)


def _causal(weights: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """The weights, None for what comes later and cannot be seen."""
    return [
        [value if column <= row else None for column, value in enumerate(values)] for row, values in enumerate(weights)
    ]


def _arithmetic(data: Mapping[str, Any]) -> View:
    pair, texts = data["pair"], data["tokens"]
    query, key = (f"“{texts[data[name]].strip()}”" for name in ("query", "key"))
    rows = [
        [f"query of {query}", _few(pair["q"])],
        [f"key of {key}", _few(pair["k"])],
        ["their products", _few(pair["products"])],
        ["the sum of these", shown(pair["dot"])],
        [f"times {shown(pair['scale'])}: the score", shown(pair["score"])],
        ["softmax over all scores: the weight", percent(pair["weights"][data["key"]])],
        [f"value of {key}, to be mixed in with this weight", _few(pair["values"][data["key"]])],
    ]
    return Table(f"The arithmetic of {query} looking at {key}", ["", ""], rows)


def _few(numbers: Sequence[float]) -> str:
    """The first of many numbers."""
    return ", ".join(f"{number:.2f}" for number in numbers[:6]) + (
        f", ... ({len(numbers)})" if len(numbers) > 6 else ""
    )


def heads(data: Mapping[str, Any]) -> Iterable[View]:
    """The best heads of each kind, and a map of all heads for each."""
    rows, scores = [], []
    for kind in data["kinds"].values():
        for best in kind["best"]:
            where, here = f"layer {best['layer']}, head {best['head']}", best["here"]
            rows.append([kind["does"], where, percent(best["score"]), "-" if here is None else percent(here)])
            scores.append([None, None, best["score"], here])
    header = ["what it does", "where", "of its attention", "in your prompt"]
    yield Table("The best three of each kind", header, rows, scores)
    for name, kind in data["kinds"].items():
        across = [list(column) for column in zip(*kind["scores"], strict=True)]  # (H, L)
        names, columns = [f"head {at}" for at in range(len(across))], [str(at) for at in range(len(across[0]))]
        yield Matrix(f"{name}: a row for each head, a column for each layer", names, columns, across)


def layers(data: Mapping[str, Any]) -> Iterable[View]:
    """The logit lens as a table, coloured by probability, and the rise of the final word."""
    rows, shaded = [], []
    for layer in data["layers"]:
        top = layer["top"]
        name = "embedding" if layer["layer"] == 0 else f"layer {layer['layer']}"
        rows.append([name, *(each["text"] for each in top), f"{layer['rank']:,}"])
        shaded.append([None, *(each["probability"] for each in top), None])
    order = [f"{at}." for at in range(1, len(data["layers"][0]["top"]) + 1)]
    final = f"rank of “{data['final']['text'].strip()}”"
    yield Table("What each layer would say next (stronger colour: surer)", ["after", *order, final], rows, shaded)
    if len(data["columns"]) > 1:
        columns = [data["tokens"][place] for place in data["columns"]]
        cells = [[cell["text"] for cell in row] for row in data["grid"]]
        shaded_grid = [[None, *(cell["probability"] for cell in row)] for row in data["grid"]]
        named = [[name[0], *row] for name, row in zip(rows, cells, strict=True)]
        yield Table("What it would say after each token", ["after", *columns], named, shaded_grid)
    points = [(layer["layer"], layer["probability"]) for layer in data["layers"]]
    yield Lines("The final word's probability", "layer", "probability", {data["final"]["text"]: points})


def surprise(data: Mapping[str, Any]) -> Iterable[View]:
    """The text, shaded by surprise, each token's probability below it; and what was expected instead."""
    first, *read = data["tokens"]
    bits = [0.0, *(min(row["bits"] / SURPRISING_BITS, 1) for row in read)]
    notes = ["", *(percent(row["probability"]) for row in read)]
    yield Words(
        "Stronger colour: less expected. Below: its probability",
        [first["text"], *(row["text"] for row in read)],
        bits,
        notes,
    )
    most = sorted(read, key=lambda row: -row["bits"])[:5]
    rows = [
        [
            row["text"],
            percent(row["probability"]),
            ", ".join(_guess(each) for each in row["expected"]),
        ]
        for row in most
    ]
    yield Table("The greatest surprises", ["read", "probability", "expected"], rows)


def _guess(candidate: Mapping[str, Any]) -> str:
    return f"{quoted(candidate['text'])} {percent(candidate['probability'])}"


def sampling(data: Mapping[str, Any]) -> Iterable[View]:
    """The candidates as the model gives them, and as the settings reshape them."""
    rows = data["candidates"][:12]
    names = [row["text"] for row in rows]
    yield Bars("As the model gives them", names, [row["probability"] for row in rows], percent=True)
    kept = [row for row in rows if row["chosen"] > 0]
    yield Bars(
        f"As the settings reshape them ({data['num_kept']:,} are left)",
        [row["text"] for row in kept],
        [row["chosen"] for row in kept],
        percent=True,
    )
    temperatures = (0.25, 0.5, 1.0, 2.0)
    columns = [_at_temperature(data, temperature, len(rows)) for temperature in temperatures]
    cells = [[row["text"], *(_share(column[at]) for column in columns)] for at, row in enumerate(rows)]
    shaded = [[None, *(column[at] for column in columns)] for at in range(len(rows))]
    header = ["", *(f"temperature {temperature:g}" for temperature in temperatures)]
    yield Table("The same candidates, colder and hotter", header, cells, shaded)


def _share(share: float) -> str:
    return percent(share) if share >= LEAST_SHARE else f"< {percent(LEAST_SHARE)}"


def _at_temperature(data: Mapping[str, Any], temperature: float, num: int) -> list[float]:
    """The probabilities of the first `num` candidates, by the logits of all."""
    best = data["candidates"][0]["logit"]
    weights = [math.exp((row["logit"] - best) / temperature) for row in data["candidates"]]
    rest = sum(each["num"] * math.exp((each["logit"] - best) / temperature) for each in data["rest"])
    return [weight / (sum(weights) + rest) for weight in weights[:num]]


def what_if(data: Mapping[str, Any]) -> Iterable[View]:
    """The candidates before and after."""
    rows = sorted(data["changes"], key=lambda row: -max(row["before"], row["after"]))[:12]
    cells = [[row["text"], percent(row["before"]), percent(row["after"])] for row in rows]
    shaded = [[None, row["before"], row["after"]] for row in rows]
    yield Table("Probability of the next word", ["", "before", "after"], cells, shaded)


def saliency(data: Mapping[str, Any]) -> Iterable[View]:
    """The words, shaded by how much they count, for or against."""
    notes = ["for" if score > 0 else "against" for score in data["scores"]]
    title = f"How much each token counts for or against “{data['target']['text'].strip()}”"
    yield Words(title, data["tokens"], shades(data["shares"]), notes)


def position(data: Mapping[str, Any]) -> Iterable[View]:
    """What is expected next, in order and shuffled, with positions and without."""
    header = ["", "with positions", "shuffled", "without positions", "shuffled"]
    columns = [data["runs"][run][when] for run in ("with", "without") for when in ("before", "after")]
    rows = zip(*columns, strict=True)
    told = [[f"{at}.", *(_guess(each) for each in row)] for at, row in enumerate(rows, 1)]
    yield Table("What would come next", header, told)
    changes = [data["runs"][run]["change"] for run in ("with", "without")]
    yield Bars("How much of the prediction the shuffle changes", ["with positions", "without"], changes, percent=True)


def all_at_once(data: Mapping[str, Any]) -> Iterable[View]:
    """Milliseconds against length."""
    runs = data["runs"]
    series = {
        name: [(run["tokens"], 1000 * run[f"{part}_seconds"]) for run in runs]
        for name, part in (("attention", "attention"), ("recurrent network", "recurrent"))
    }
    yield Lines("Time for one layer", "tokens in the prompt", "milliseconds", series)
    header = ["tokens", "attention", "steps", "recurrent", "steps"]
    rows = [
        [
            str(run["tokens"]),
            f"{1000 * run['attention_seconds']:.2f} ms",
            str(run["attention_steps"]),
            f"{1000 * run['recurrent_seconds']:.2f} ms",
            str(run["recurrent_steps"]),
        ]
        for run in runs
    ]
    yield Table("Steps that must wait for each other", header, rows)


def cache(data: Mapping[str, Any]) -> Iterable[View]:
    """Time with and without, and bytes."""
    labels = ["one token more, with the cache", "all read again"]
    seconds = [1000 * data["step_seconds"], 1000 * data["again_seconds"]]
    yield Bars("Milliseconds", labels, seconds)
    names = ("token_bytes", "prompt_bytes", "context_tokens", "context_bytes", "reused_tokens")
    yield Table("What is kept", ["", ""], [[name.replace("_", " "), shown(data[name])] for name in names])


def parameters(data: Mapping[str, Any]) -> Iterable[View]:
    """The parts, and every matrix."""
    parts = sorted(data["by_part"].items(), key=lambda part: -part[1])
    yield Bars(
        "Share of all parameters", [name for name, _ in parts], [num / data["total"] for _, num in parts], percent=True
    )
    rows = [
        [row["name"], row["what"], " x ".join(map(str, row["shape"])), str(row["times"]), shown(row["total"])]
        for row in data["rows"]
    ]
    yield Table(
        "Every matrix",
        ["name", "what it is", "shape", "times", "parameters"],
        [*rows, ["in all", "", "", "", shown(data["total"])]],
    )


def flow(data: Mapping[str, Any]) -> Iterable[View]:
    """What each layer adds, where it looks, and what it would say."""
    rows = [
        [
            str(layer["layer"]),
            ", ".join(
                f"{data['tokens'][look['place']].strip()} {percent(look['weight'])}" for look in layer["looks"][:3]
            ),
            shown(layer["attention"]),
            shown(layer["mlp"]),
            shown(layer["residual"]),
            _guess(layer["says"][0]),
        ]
        for layer in data["layers"]
    ]
    shaded = [[None, None, None, None, None, layer["says"][0]["probability"]] for layer in data["layers"]]
    header = ["layer", "looks at", "attention adds", "MLP adds", "length after", "would say"]
    yield Table(f"The way of “{data['tokens'][data['place']].strip()}”", header, rows, shaded)


def context(data: Mapping[str, Any]) -> Iterable[View]:
    """How near the word is to each sense, layer by layer."""
    layers = data["layers"]
    near = {sense: [(row["layer"], row["senses"][sense]) for row in layers] for sense in layers[0]["senses"]}
    if near:
        yield Lines(f"How near “{data['word']}” is to each sense", "layer", "cosine", near)
    beside = [(row["layer"], row["similarity"]) for row in layers if row["similarity"] is not None]
    if beside:
        title = f"How alike “{data['word']}” is in the two sentences"
        yield Lines(title, "layer", "cosine", {"similarity": beside})
    if accuracy := data.get("accuracy"):
        points = list(enumerate(accuracy["layers"]))
        title = f"How often the nearest sense is right, over {accuracy['sentences']} sentences"
        yield Lines(title, "layer", "share", {"right": points, "a guess": [(at, 0.5) for at, _ in points]})


def training(data: Mapping[str, Any]) -> Iterable[View]:
    """The curve, and what each checkpoint would say."""
    if data["curve"]:
        points = [(each["step"], each["loss"]) for each in data["curve"]]
        yield Lines("The loss falls while it learns", "step", "loss", {"loss": points})
    rows = [
        [f"{step['step']:,}", *(_guess(each) for each in step["top"][:3]), step["sample"]] for step in data["steps"]
    ]
    shaded = [[None, *(each["probability"] for each in step["top"][:3]), None] for step in data["steps"]]
    yield Table("What it would say after so many steps", ["step", "1.", "2.", "3.", "goes on"], rows, shaded)
    for step in (data["steps"][0], data["steps"][-1]):
        title = f"Where layer {data['layer']}, head {data['head']} looked at step {step['step']:,}"
        yield Matrix(title, data["tokens"], data["tokens"], _causal(step["weights"]))


VIEWERS: dict[str, Viewer] = {
    "tokens": tokens,
    "embedding": embedding,
    "merges": merges,
    "attention": attention,
    "heads": heads,
    "layers": layers,
    "surprise": surprise,
    "sampling": sampling,
    "what-if": what_if,
    "saliency": saliency,
    "position": position,
    "all-at-once": all_at_once,
    "cache": cache,
    "parameters": parameters,
    "flow": flow,
    "context": context,
    "training": training,
}
