"""The judge of pictures: real scenes are right, other scenes and mush are wrong, and prompts are of held-out pairs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from reverie.cli import evaluate as command
from reverie.cli.app import app
from reverie.data.icons import Pixels
from reverie.data.scene import Scene
from reverie.data.scenes import Scenes
from reverie.data.vocabulary import held_out, vocabulary
from reverie.evaluate import judge, judge_training, originality, pictures
from reverie.evaluate.judge import JudgeConfig
from reverie.hub.datasets import build, open_scenes
from reverie.types import ReverieError

SMALL = replace(judge.config(), widths=(8, 16, 24), blocks=(0, 0, 1))


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Held-out pairs, as real renders."""
    build("scenes", pictures.REAL_PX)
    return open_scenes(pictures.REAL_PX, "held_out")


@pytest.fixture(scope="session")
def tasks(scenes: Scenes) -> list[Scene]:
    return pictures.prompts(60, seed=3)


@pytest.fixture(scope="session")
def renders(scenes: Scenes, tasks: Sequence[Scene]) -> list[Pixels]:
    return [scenes.render(task) for task in tasks]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(num: int = 4) -> torch.Tensor:
    return torch.rand(num, 3, 64, 64, generator=rng()) * 2 - 1


# --- prompts ---


def test_prompts_are_of_pairs_that_training_never_shows_and_name_what_is_asked(tasks: list[Scene]) -> None:
    for task in tasks:
        assert task.other is not None
        assert held_out(task.subject, task.other)
        assert task.subject in task.caption
        for colour in (task.colour, task.other_colour):
            assert colour is None or f"{colour} " in task.caption
        assert task.caption.endswith(vocabulary().backgrounds[task.background].say[0])
    assert tasks == pictures.prompts(60, seed=3)
    assert tasks != pictures.prompts(60, seed=4)


# --- the judge that was trained ---


def test_it_knows_all_words_of_the_scenes() -> None:
    trained = judge.trained().config
    assert {name: trained.classes(name) for name in judge.QUESTIONS} == {
        name: judge.config().classes(name) for name in judge.QUESTIONS
    }


def test_a_drawer_of_the_right_scene_is_told_from_one_of_the_wrong_scene(
    scenes: Scenes, tasks: list[Scene], renders: list[Pixels]
) -> None:
    drawings = iter(renders[1:] + renders[:1])  # each the picture of another prompt
    report = pictures.score_drawer(lambda prompt, seed: next(drawings), judge.trained(), num=60, seed=3)
    assert report.scenes == tasks
    drawn, real = report.tables
    for name in judge.QUESTIONS:
        assert real[name].share >= 0.95, name
    assert real[pictures.ALL].share >= 0.93
    assert drawn["subject"].share <= 0.15
    assert drawn["background"].share <= 0.25
    assert drawn[pictures.ALL].right == 0


@pytest.mark.parametrize("spoilt", ["blurred", "shuffled"])
def test_mush_is_never_right(tasks: list[Scene], renders: list[Pixels], spoilt: str) -> None:
    x = judge.tensors(renders)
    x = judge_training.blur(x, 14.0) if spoilt == "blurred" else judge_training.shuffled(x, 16, rng())
    mush = [((picture.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy() for picture in x]
    table = pictures.table(pictures.verdicts(judge.trained(), mush, tasks))
    assert table["subject"].share <= 0.05
    assert table[pictures.ALL].right == 0


def test_size_does_not_matter(renders: list[Pixels]) -> None:
    few = renders[:6]
    twice = [picture.repeat(2, axis=0).repeat(2, axis=1) for picture in few]
    assert judge.trained().ask(twice) == judge.trained().ask(few)


def test_an_oblong_picture_is_refused() -> None:
    with pytest.raises(ReverieError, match="not 96 x 64"):
        judge.trained().ask([np.zeros((64, 96, 3), np.uint8)])


# --- verdicts ---


class Says:
    """A judge that always answers the same."""

    def __init__(self, answers: judge.Answers, sure: float = 0.9) -> None:
        self.given = {name: ("" if answer is None else answer, sure) for name, answer in answers.items()}

    def ask(self, asked: Sequence[Pixels]) -> list[dict[str, tuple[str, float]]]:
        return [self.given for _ in asked]


def verdict(says: judge.Answers, scene: Scene, sure: float = 0.9) -> pictures.Verdict:
    blank = np.zeros((64, 64, 3), np.uint8)
    (given,) = pictures.verdicts(Says(says, sure), [blank], [scene])  # type: ignore[arg-type]
    return given


def test_an_answer_must_be_sure(tasks: list[Scene]) -> None:
    right = judge.answers(tasks[0])
    assert verdict(right, tasks[0]).all_right
    assert not any(verdict(right, tasks[0], sure=0.4).right.values())


def test_next_to_may_be_on_either_side_and_no_other_relation_may(tasks: list[Scene]) -> None:
    scene = replace(tasks[0], relation="next to")
    for relation, expected in {"left of": True, "right of": True, "above": False}.items():
        said = {**judge.answers(scene), "relation": relation}
        assert verdict(said, scene).right["relation"] is expected
    left = replace(tasks[0], relation="left of")
    assert not verdict({**judge.answers(left), "relation": "right of"}, left).right["relation"]


def test_one_wrong_answer_spoils_the_whole(tasks: list[Scene]) -> None:
    scene = next(task for task in tasks if task.colour and task.other_colour)
    for name in judge.QUESTIONS:
        judged = verdict({**judge.answers(scene), name: "something else"}, scene)
        assert [question for question, is_right in judged.right.items() if not is_right] == [name]
        assert not judged.all_right


def test_a_colour_that_nobody_named_is_not_asked(tasks: list[Scene]) -> None:
    scene = next(task for task in tasks if task.colour is None)
    assert "colour" not in verdict(judge.answers(scene), scene).right
    few = [verdict(judge.answers(scene), scene), verdict(judge.answers(scene), scene)]
    assert pictures.table(few)["colour"].asked == 0
    assert pictures.table(few)[pictures.ALL] == pictures.Count(2, 2)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_share_and_shrinks(right: int, wrong: int) -> None:
    count = pictures.Count(right, right + wrong)
    low, high = count.interval
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low - 1e-9 <= count.share <= high + 1e-9
        four_times = pictures.Count(4 * right, 4 * (right + wrong)).interval
        assert four_times[1] - four_times[0] < high - low


def test_the_interval_is_wilsons() -> None:  # the example of Newcombe (1998), table I: 81 of 263
    assert pictures.Count(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=1e-4)


# --- how it learns ---


def test_it_learns(scenes: Scenes) -> None:
    learning = judge_training.Learning(num=16 * 24, batch=16, learning_rate=6e-3)
    torch.manual_seed(0)
    made = judge.Judge(SMALL)
    losses = list(judge_training.learn(made, [scenes], learning))
    assert made.config.pictures == learning.num
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_it_learns_all_relations_and_any_pair() -> None:
    source = open_scenes(pictures.REAL_PX, "judge", ("noto",))
    seen = [source.scene(0, index) for index in range(3000)]
    counts = Counter(judge.answers(scene)["relation"] for scene in seen)
    counts.pop(None)
    assert set(counts) == set(judge.config().relation)
    assert min(counts.values()) >= 60
    assert {held_out(scene.subject, scene.other) for scene in seen if scene.other is not None} == {True, False}


def test_a_new_block_changes_nothing() -> None:
    torch.manual_seed(2)
    made, deeper = judge.Judge(SMALL), judge.Judge(replace(SMALL, blocks=(0, 0, 2)))
    deeper.load_state_dict(made.state_dict(), strict=False)
    picture = [np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)]
    assert deeper.eval().ask(picture) == made.eval().ask(picture)


def test_what_was_learnt_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = judge.Judge(SMALL).bfloat16().float().eval()
    judge.save(made, made.config, tmp_path)
    read = judge.load(tmp_path)
    picture = [np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)]
    assert read.ask(picture) == made.ask(picture)


def test_a_folder_without_a_judge_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="no judge"):
        judge.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"judge": {"subject": ["cat"]}}))
    with pytest.raises(ReverieError, match="lacks the field"):
        judge.load(tmp_path)


def test_mush_has_nothing_in_it() -> None:
    config, x = SMALL, noise(judge_training.MUSH_ONE_IN)
    right = torch.ones(len(x), len(judge.QUESTIONS), dtype=torch.long)
    spoilt = judge_training.spoil(judge_training.Batch(x, right), config, rng())
    (changed,) = torch.nonzero((spoilt.pictures != x).flatten(1).any(1))[:, 0].tolist()
    told = dict(zip(judge.QUESTIONS, spoilt.targets[changed].tolist(), strict=True))
    assert {config.classes(name)[told.pop(name)] for name in ("subject", "other")} == {judge.NONE}
    assert set(told.values()) == {judge_training.IGNORED}
    assert (spoilt.targets != right).any(1).sum() == 1


# --- blemishes ---


def test_blemishes_keep_pictures_pictures() -> None:
    x = judge_training.blemished(noise(), rng())
    assert x.shape == (4, 3, 64, 64)
    assert x.abs().max() <= 1


def test_nothing_of_a_blemish_is_nothing() -> None:
    x, none = noise(), torch.zeros(4, 1, 1, 1)
    torch.testing.assert_close(judge_training.warp(x, none, rng()), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(judge_training.quantise(x, none, rng()), x, atol=2e-2, rtol=0)  # least step: 1/1000
    flat = torch.full((1, 3, 64, 64), 0.3)
    torch.testing.assert_close(judge_training.blur(flat, 2.0), flat)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_a_shuffle_keeps_every_pixel(seed: int) -> None:
    x = noise(1)
    mixed = judge_training.shuffled(x, 8, rng(seed))
    torch.testing.assert_close(mixed.flatten().sort().values, x.flatten().sort().values)
    assert not torch.equal(mixed, x)


# --- originality ---


def test_a_copy_of_a_training_picture_is_found_out(scenes: Scenes) -> None:
    train = open_scenes(pictures.REAL_PX, "train")
    copied, scene = train.item(5, 123)[::2]
    near, apart = originality.nearest([copied, 255 - copied], [scene, scene], seed=5, num=400)
    assert np.array_equal(near[0], copied)
    assert apart[0] == 0
    assert apart[1] > 0.05
    sheet = originality.sheet([copied, copied], near, ["a copy", "its negative"], columns=1)
    side = pictures.REAL_PX
    assert np.array_equal(sheet[:side, :side], copied)
    assert np.array_equal(sheet[:side, side + 2 : 2 * side + 2], copied)


# --- the command ---


class Renderer:
    """Stands in for a model that draws: it renders the very scene that the prompt names."""

    def __init__(self, scenes: Scenes, tasks: Sequence[Scene]) -> None:
        self.scenes, self.by_prompt, self.medium = scenes, {task.caption: task for task in tasks}, self

    def generate(self, prompt: str, **_: object) -> list[object]:
        return [type("Step", (), {"guess": self.by_prompt[prompt]})]

    def picture(self, scene: Scene) -> Pixels:
        return self.scenes.render(scene)


def test_the_command_prints_a_table_and_writes_numbers(
    scenes: Scenes, tasks: list[Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_drawing", lambda *_: Renderer(scenes, tasks))
    monkeypatch.setattr(originality, "NUM_SCENES", 300)
    files = ["--json", str(tmp_path / "n.json"), "--sheet", str(tmp_path / "s.png")]
    result = CliRunner().invoke(app, ["eval", "image", "-m", "any", "--num", "12", "--seed", "3", *files])
    assert result.exit_code == 0, result.output
    assert "all at once" in result.stdout
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["drawn"] == numbers["real"]
    assert numbers["drawn"]["subject"]["asked"] == 12
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_configs_of_the_judge_name_every_question() -> None:
    fields = set(JudgeConfig.__dataclass_fields__)
    assert set(judge.QUESTIONS) <= fields
