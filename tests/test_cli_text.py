"""write, code, ask, summarize and chat with the real default model, through the real command in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import termios
from pathlib import Path

import pexpect
import pytest

REVERIE = [sys.executable, "-m", "reverie", "--offline"]
TEXT = """The lighthouse of Sorrow was built in 1871 by Anna Lindqvist. It is 42 metres tall.
In 1903 a storm broke its lamp, and the keeper, Otto Brandt, lit fires by hand for nine nights.
Today it is a museum that opens from May to September."""

pytestmark = pytest.mark.usefixtures("smollm2_path")  # the default model is installed


def reverie(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*REVERIE, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120)


def test_json_is_one_object_with_everything_in_it() -> None:
    result = reverie("write", "Name a colour.", "--max-tokens", "6", "--seed", "7", "--json", "--logprobs", "2")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert set(made) == {
        "model",
        "text",
        "tokens",
        "timings",
        "finish_reason",
        "seed",
        "settings",
        "logprobs",
        "dropped_tokens",
    }
    assert made["model"] == "smollm2"
    assert made["dropped_tokens"] == 0
    assert made["finish_reason"] in {"length", "stop"}
    assert made["seed"] == 7
    assert made["settings"]["max_tokens"] == 6
    assert 1 <= made["tokens"]["new"] <= 6
    assert made["tokens"]["prompt"] > 4
    assert set(made["timings"]) == {"prompt_seconds", "decode_seconds", "tokens_per_second"}
    assert all(seconds >= 0 for seconds in made["timings"].values())
    assert len(made["logprobs"]) >= made["tokens"]["new"]
    assert made["text"].startswith(made["logprobs"][0]["token"])
    for token in made["logprobs"]:
        assert len(token["top_logprobs"]) == 2
        assert token["logprob"] <= token["top_logprobs"][0]["logprob"] <= 0


def test_the_prompt_may_come_from_stdin_and_a_seed_repeats() -> None:
    options = ["--max-tokens", "12", "--seed", "1"]
    whole = reverie("write", "Write a story.\n\nIt is about a dog.", *options)
    halves = reverie("write", "Write a story.", *options, stdin="It is about a dog.")
    assert whole.returncode == 0, whole.stderr
    assert len(whole.stdout.split()) > 3
    assert whole.stdout.endswith("\n")
    assert halves.stdout == whole.stdout
    assert whole.stderr == "cut off at 12 tokens (--max-tokens)\n"


def test_raw_continues_a_text_as_it_stands() -> None:
    settings = ["--temperature", "0", "--repetition-penalty", "1", "--stop", "\n", "--stop", ", 10"]
    result = reverie("write", "--raw", "1, 2, 3, 4, 5, 6,", *settings)
    assert result.stdout == " 7, 8, 9\n"
    assert result.stderr == ""


def test_code_prints_only_code_into_a_pipe() -> None:
    result = reverie("code", "Write a Python function that reverses a string.", "--seed", "1", "--max-tokens", "120")
    assert result.returncode == 0, result.stderr
    assert "```" not in result.stdout
    compile(result.stdout, "the answer", "exec")
    assert "def " in result.stdout


def test_ask_answers_from_a_text(tmp_path: Path) -> None:
    file = tmp_path / "lighthouse.txt"
    file.write_text(TEXT)
    options = ["--temperature", "0", "--max-tokens", "40"]
    from_file = reverie("ask", "How tall is the lighthouse?", "--context", str(file), *options)
    assert "42" in from_file.stdout, from_file.stderr
    assert reverie("ask", "How tall is the lighthouse?", *options, stdin=TEXT).stdout == from_file.stdout


def test_summarize_reads_more_than_fits_the_context(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("\n\n".join([TEXT] * 6))
    # So much room for the summary leaves less than 300 tokens for the text: it must be read in parts.
    result = reverie("summarize", str(file), "--max-tokens", "7900", "--temperature", "0", "--stop", ".", "--json")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert len(made["text"].split()) > 3
    assert made["tokens"]["prompt"] > 500
    assert made["finish_reason"] == "stop"
    assert made["parts_cut_off"] == 0


def test_a_reader_that_leaves_early_is_not_an_error() -> None:
    command = f"{' '.join(REVERIE)} write 'Tell a story.' --max-tokens 60 | head -c 10; echo \" ${{PIPESTATUS[0]}}\""
    result = subprocess.run(["bash", "-c", command], input="", capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.split()[-1] in {"0", "141"}
    assert result.stderr == ""


def spawn(*arguments: str) -> pexpect.spawn[str]:
    return pexpect.spawn(REVERIE[0], [*REVERIE[1:], *arguments], encoding="utf-8", timeout=60, dimensions=(24, 80))


# An editor of lines asks the terminal to mark what is pasted, for as long as it waits for the person.
READY, WORKING = "\x1b[?2004h", "\x1b[?2004l"


def echoes(child: pexpect.spawn[str]) -> bool:
    """Whether the terminal shows what is typed, and gives it line by line: what a shell expects to find."""
    flags = termios.tcgetattr(child.child_fd)[3]
    return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)


def test_ctrl_c_stops_at_once_and_leaves_the_terminal_clean() -> None:
    child = spawn("write", "--raw", "Once upon a time", "--max-tokens", "4000")
    child.expect(r"\w+ \w+ \w+ \w+ \w+")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 130
    assert echoes(child)
    assert "Traceback" not in child.before
    assert child.before.endswith("\r\n")
    assert child.before.rfind("\x1b[?25h") >= child.before.rfind("\x1b[?25l")  # the cursor is not left hidden


def test_chat_remembers_saves_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    lines = ["My name is Ada.", "/retry", "/bogus", "/system Be brief.", f"/save {file}", "/exit", "Not read."]
    result = reverie("chat", "--max-tokens", "8", "--temperature", "0", stdin="\n".join(lines) + "\n")
    assert result.returncode == 0, result.stderr
    saved = [json.loads(line) for line in file.read_text().splitlines()]
    assert [turn["role"] for turn in saved] == ["system", "user", "assistant"]
    assert [saved[0]["content"], saved[1]["content"]] == ["Be brief.", "My name is Ada."]
    assert result.stdout == f"{saved[2]['content']}\n" * 2  # greedy: the second try is the same
    assert "There is no /bogus: /help" in result.stderr


def test_ctrl_c_in_chat_stops_the_answer_and_not_the_program() -> None:
    child = spawn("chat", "--max-tokens", "4000", "--temperature", "1")
    child.expect_exact(READY)
    child.sendline("Tell me a very long story about the sea.")
    child.expect_exact(WORKING)
    child.expect(r"\w+ \w+ \w+")
    child.sendintr()
    child.expect_exact("(stopped)")
    child.expect_exact(READY)
    child.sendline("/help")
    child.expect_exact("/retry")
    child.expect_exact(READY)
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
