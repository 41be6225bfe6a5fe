"""Training from the studio: each run is a `reverie train` of its own, watched through the files that it writes.

runs/NAME/request.json    what was asked
runs/NAME/output.txt      what the last process said
runs/NAME/log.jsonl, samples/, model/, ...    the run itself, as from the command line
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from reverie import modalities
from reverie.hub import datasets, files, paths
from reverie.serve.errors import Refused, not_found
from reverie.serve.models import TRAINED
from reverie.serve.shapes import Shape
from reverie.serve.shapes_train import (
    Medium,
    TextUpload,
    TrainOptions,
    TrainPoint,
    TrainRequest,
    TrainRun,
    TrainSample,
    TrainState,
)

REQUEST, OUTPUT, LOG, SAMPLES = "request.json", "output.txt", "log.jsonl", "samples"
MOST_RUNNING = 1
MOST_TEXTS, MOST_RUNS = 100, 100
POLL_SECONDS = 0.5
MOST_CURVE_POINTS = 2000
_SAMPLE = re.compile(r"(\d+)-(\d+)\.[a-z0-9]{1,8}")


class Training:
    """The runs in the folder `home`/runs, and the texts to learn from in `home`/texts."""

    def __init__(self, home: Path) -> None:
        self.runs, self.texts = home / "runs", home / "texts"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # --- what one can learn from ---

    def options(self) -> TrainOptions:
        """Media, sizes and data."""
        kinds = {name: modalities.modality(name) for name in modalities.names()}
        media = [Medium(name=name, sizes=list(kind.presets), data=self._data(kind)) for name, kind in kinds.items()]
        return TrainOptions(media=media)

    def add_text(self, upload: TextUpload) -> None:
        """Keeps a text under its name, in place of an earlier one."""
        if len(_names(self.texts, ".txt")) >= MOST_TEXTS:
            raise Refused(409, f"There are {MOST_TEXTS} texts already: use one of them.")
        files.write(self._text(upload.name), upload.text)

    def _data(self, kind: Any) -> list[str]:
        """The names of what a medium can learn from: sets of data that are built, or texts."""
        if "find_data" not in kind.needs:
            return _names(self.texts, ".txt")
        built = [size_px for size_px in datasets.SIZES_PX if datasets.scenes_path(size_px).is_file()]
        return ["scenes"] if built else []

    def _text(self, name: str) -> Path:
        return paths.inside(self.texts, f"{name}.txt")

    # --- runs ---

    def start(self, request: TrainRequest) -> TrainRun:
        """Begins a run."""
        folder = self._folder(request.name)
        if folder.exists():
            raise Refused(409, f"There is a run {request.name!r} already: resume it, or choose another name.")
        if len(self._run_names()) >= MOST_RUNS:
            raise Refused(409, f"There are {MOST_RUNS} runs already: delete one first.")
        self._command(request)
        self._room()
        files.write(folder / REQUEST, request.model_dump_json())
        return self._launch(request)

    def resume(self, name: str) -> TrainRun:
        """Goes on where a run was stopped."""
        run = self.run(name)
        if run.state == "running":
            raise Refused(409, f"The run {name!r} goes on already: watch it.")
        self._room()
        return self._launch(run.request)

    def stop(self, name: str) -> TrainRun:
        """Interrupts a run: it writes a checkpoint and ends."""
        self.run(name)
        process = self._processes.get(name)
        if process is None or process.poll() is not None:
            raise Refused(409, f"The run {name!r} is not under way: resume it, or delete it.")
        process.send_signal(signal.SIGINT)
        return self.run(name)

    def delete(self, name: str) -> None:
        """Deletes a run that is not under way, its model too."""
        if self.run(name).state == "running":
            raise Refused(409, f"The run {name!r} is under way: stop it first.")
        shutil.rmtree(self._folder(name))

    def everything(self) -> list[TrainRun]:
        """All runs, newest first."""
        runs = [self.run(name) for name in self._run_names()]
        return sorted(runs, key=lambda run: -run.created)

    def run(self, name: str) -> TrainRun:
        """A run and where it stands."""
        folder = self._folder(name)
        request = self._request(folder)
        points, state = self.curve(name), self._state(name)
        last = points[-1] if points else None
        if state == "stopped" and last is not None and last.done >= 1:
            state = "finished"
        return TrainRun(
            name=name, state=state, request=request, created=(folder / REQUEST).stat().st_mtime, last=last,
            num_samples=len(self._sample_files(name)), error=_last_words(folder) if state == "failed" else None,
            model=TRAINED + name if (folder / "model" / "config.json").is_file() else None,
        )  # fmt: skip

    def curve(self, name: str, after_step: int = 0) -> list[TrainPoint]:
        """The steps of a run after `after_step`; of very many, evenly some, and all where something was measured."""
        points = [point for point in _points(self._folder(name) / LOG) if point.step > after_step]
        every = len(points) // MOST_CURVE_POINTS + 1
        return [
            point
            for number, point in enumerate(points, start=1)
            if number % every == 0 or number == len(points) or point.held_out is not None
        ]

    async def watch(self, name: str) -> AsyncIterator[Shape]:
        """The curve so far and as it grows, and the run itself whenever its state or samples change, to its end."""
        step, before = 0, None
        while True:
            run = await asyncio.to_thread(self.run, name)
            for point in await asyncio.to_thread(self.curve, name, step):
                step = point.step
                yield point
            now = (run.state, run.num_samples, run.model)
            if now != before:
                before = now
                yield run
            if run.state != "running":
                return
            await asyncio.sleep(POLL_SECONDS)

    def samples(self, name: str) -> list[TrainSample]:
        """What the model made while it learnt, oldest first."""
        self._request(self._folder(name))
        return [_sample(name, number, path) for number, path in enumerate(self._sample_files(name))]

    def sample(self, name: str, number: int) -> tuple[str, bytes]:
        """Media type and bytes of a sample."""
        self._request(self._folder(name))
        found = self._sample_files(name)
        if not 0 <= number < len(found):
            raise not_found("sample")
        return _media_type(found[number]), found[number].read_bytes()

    def close(self, seconds: float) -> None:
        """Interrupts all runs, and waits so long for them to write their checkpoints; they can be resumed."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)

    # --- within ---

    def _sample_files(self, name: str) -> list[Path]:
        folder = self._folder(name) / SAMPLES
        return sorted(path for path in folder.iterdir() if _SAMPLE.fullmatch(path.name)) if folder.is_dir() else []

    def _folder(self, name: str) -> Path:
        return paths.inside(self.runs, name)

    def _run_names(self) -> list[str]:
        found = sorted(self.runs.iterdir()) if self.runs.is_dir() else []
        return [folder.name for folder in found if (folder / REQUEST).is_file()]

    def _request(self, folder: Path) -> TrainRequest:
        try:
            return TrainRequest.model_validate_json((folder / REQUEST).read_bytes())
        except OSError:
            raise not_found("run") from None

    def _room(self) -> None:
        running = [name for name, process in self._processes.items() if process.poll() is None]
        if len(running) >= MOST_RUNNING:
            raise Refused(409, f"The run {running[0]!r} is under way: stop it first, there is one at a time.")

    def _state(self, name: str) -> TrainState:
        process = self._processes.get(name)
        if process is None:  # of an earlier server, unless it still goes on
            with files.lock(self._folder(name) / ".lock", wait=False) as free:
                return "stopped" if free else "running"
        status = process.poll()
        if status is None:
            return "running"
        return "stopped" if status in (0, 128 + signal.SIGINT, -signal.SIGINT) else "failed"

    def _launch(self, request: TrainRequest) -> TrainRun:
        folder = self._folder(request.name)
        with (folder / OUTPUT).open("wb") as output:
            self._processes[request.name] = subprocess.Popen(  # noqa: S603 - no shell, and no word of it is free
                self._command(request), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return self.run(request.name)

    def _command(self, request: TrainRequest) -> list[str]:
        """What a person would type; medium, size and data are among those there are."""
        known = {medium.name: medium for medium in self.options().media}
        medium = known.get(request.medium)
        if medium is None:
            raise Refused(400, f"There is no medium {request.medium!r}: choose {', '.join(known)}.")
        if request.size not in medium.sizes:
            raise Refused(400, f"There is no size {request.size!r}: choose {', '.join(medium.sizes)}.")
        if request.data not in medium.data:
            raise Refused(400, f"There is no data {request.data!r} for {medium.name}: see /api/train/options.")
        is_text = request.data in _names(self.texts, ".txt") and request.data != "scenes"
        data = str(self._text(request.data)) if is_text else request.data
        words = ["train", medium.name, "--data", data, "-o", str(self._folder(request.name)), "--size", request.size]
        for option in ("max_steps", "max_minutes", "batch", "seed"):
            value = getattr(request, option)
            words += [] if value is None else [f"--{option.replace('_', '-')}", str(value)]
        return [sys.executable, "-m", "reverie", *words]


def _names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*{suffix}")) if folder.is_dir() else []


def _points(log: Path) -> list[TrainPoint]:
    """The lines of a log; one that is not whole yet is left out."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        with suppress(ValueError):
            values = json.loads(line)
            names = [name for name in TrainPoint.model_fields if name in values]
            found.append(TrainPoint(**{name: values[name] for name in names}))
    return found


def _last_words(folder: Path) -> str:
    """What a process that failed said last."""
    with suppress(OSError):
        lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][-500:] if lines else "The run ended without a word."
    return "The run ended without a word."


def _media_type(path: Path) -> str:
    guessed = mimetypes.guess_type(path.name)[0]
    return "application/octet-stream" if guessed is None else guessed


def _sample(name: str, number: int, path: Path) -> TrainSample:
    media_type, step = _media_type(path), int(path.stem.partition("-")[0])
    text = path.read_bytes().decode("utf-8", "replace") if media_type == "text/plain" else None
    url = f"/api/train/{name}/samples/{number}"
    return TrainSample(number=number, step=step, media_type=media_type, text=text, url=url)
