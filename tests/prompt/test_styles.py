"""Styles: the files, merging, and finding them again."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from easel.prompt.styles import (
    Style,
    delete_style,
    extract_styles,
    finished,
    merge,
    read_styles,
    retyped,
    save_style,
    styles_of,
)
from easel.settings import read_settings
from easel.values.request import GenerationRequest, Hires, StyleTexts, Typed

GOLDENS = Path(__file__).parents[1] / "goldens" / "parts"
PLAIN = Style("plain", "oil painting, thick strokes", "blurry")
WRAPPED = Style("wrapped", "photo of {prompt}, 35mm", "cartoon, {prompt}")


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", golden("styles_merge"), ids=str)
def test_merging_is_a1111s(case):
    assert merge(case["style"], case["prompt"]) == case["merged"]


def test_styles_are_applied_in_the_order_asked_for():
    texts = finished("a fox ", "dull", [PLAIN.texts, StyleTexts("nope"), WRAPPED.texts], comments=True)
    assert texts == ("photo of a fox, oil painting, thick strokes, 35mm", "cartoon, dull, blurry")


def test_a_script_writes_other_prompts_and_the_styles_are_merged_in_again():
    typed = Typed(prompt="a fox|snow", hires_prompt="a wolf", styles=(WRAPPED.texts,))
    request = GenerationRequest(prompt="photo of a fox|snow, 35mm", styles=("wrapped",), typed=typed, hires=Hires())
    assert retyped(request, prompt="a fox").prompt == "photo of a fox, 35mm"
    plain = retyped(request, styles=[PLAIN.texts])
    assert (plain.prompt, plain.styles) == ("a fox|snow, oil painting, thick strokes", ("plain",))
    assert plain.hires is not None
    assert plain.hires.prompt == "a wolf, oil painting, thick strokes"
    assert retyped(GenerationRequest(prompt="a fox"), negative_prompt="dull").prompt == "a fox"


def test_applied_styles_are_found_again():
    draw = random.Random(4)
    for _ in range(50):
        names = draw.sample(["plain", "wrapped"], draw.randint(0, 2))
        styles = [{"plain": PLAIN, "wrapped": WRAPPED}[name].texts for name in names]
        prompt, negative_prompt = finished("a fox", "dull", styles, comments=False)
        divider = Style("--- X ---", None, None)
        assert extract_styles(prompt, negative_prompt, [divider, PLAIN, WRAPPED]) == (tuple(names), "a fox", "dull")


def test_a_style_is_found_only_with_both_halves():
    assert extract_styles("a, oil painting, thick strokes", "dull", [PLAIN])[0] == ()


def write(file: Path, text: str, encoding: str = "utf-8-sig") -> Path:
    file.write_text(text, encoding=encoding, newline="")
    return file


def test_files_are_read_as_a1111_writes_them(tmp_path):
    text = 'name,prompt,negative_prompt\r\n# note,x,y\r\nplain,"a, b",c\r\n日本,"two\nlines",\r\n\r\nplain, again,d\r\n'
    file = write(tmp_path / "styles.csv", text)
    assert read_styles([file]) == (Style("plain", "again", "d", file), Style("日本", "two\nlines", "", file))


def test_the_old_column_is_read(tmp_path):
    file = write(tmp_path / "styles.csv", "name,text\nold,oil\n", encoding="utf-8")
    assert read_styles([file]) == (Style("old", "oil", "", file),)


def test_several_files_are_headed_by_dividers(tmp_path):
    one = write(tmp_path / "one.csv", "name,prompt,negative_prompt\na,1,\n")
    two = write(tmp_path / "two.csv", "name,prompt,negative_prompt\nb,2,\n")
    styles = read_styles([tmp_path / "*.csv", one])
    assert [style.name for style in styles] == [" ONE ".center(40, "-"), "a", " TWO ".center(40, "-"), "b"]
    assert styles[0] == Style(f"{'-' * 17} ONE {'-' * 18}", None, None)
    assert styles[3].file == two
    assert finished("p", "", [styles[0].texts], comments=False) == ("p", "")


def test_files_that_cannot_be_read_are_no_styles(tmp_path, caplog):
    (tmp_path / "broken.csv").write_bytes(b"name,prompt\n\xff\xfe,x\n")
    assert read_styles([tmp_path / "none.csv"]) == ()
    assert read_styles([tmp_path / "broken.csv"]) == ()
    assert "broken.csv" in caplog.text


def test_styles_that_are_saved_and_deleted_at_once_are_all_kept(tmp_path):
    settings = read_settings(["--data-dir", str(tmp_path)], {})
    names = [f"style {number}" for number in range(24)]
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda name: save_style(settings, Style(name, "a {prompt}", None)), names))
        list(people.map(lambda name: delete_style(settings, name), names[::2]))
    assert sorted(one.name for one in styles_of(settings)) == sorted(names[1::2])
