import numpy as np
from safetensors.numpy import save_file


def test_a_prompt_rewriter(easel_app, easel_generate):
    result = easel_generate("a cat", scripts={"Mood": {"mood": "at night"}})
    assert easel_app.engine.called("encode_prompts")[0].arguments["positive"] == ("a cat, at night",)
    assert result.info["all_prompts"] == ["a cat, at night"]  # the generation data tell what was painted


def test_a_control(easel_app, easel_generate):
    folder = easel_app.settings.data_dir / "models" / "ControlNet"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.zeros(1, np.float32)}, folder / "lines.safetensors")
    result = easel_generate("a beach", scripts={"Horizon": ["lines", 0.25]})
    (control,) = easel_app.engine.called("denoise")[0].arguments["plan"].conditioning.controls
    assert np.flatnonzero(control.hint[:, 0, 0]).tolist() == [15]
    assert [image.kind for image in result.images] == ["result", "control"]


def test_a_script(easel_generate, easel_client):
    assert [image.seed for image in easel_generate(scripts={"Seeds": [3]}, seed=7).images] == [7, 8, 9]
    refused = easel_client.post("/sdapi/v1/txt2img", json={"script_name": "Seeds", "script_args": []})
    assert refused.status_code == 422
    assert "script_args[0]: argument 'count'" in refused.text


def test_a_task_and_a_route(easel_app, easel_client):
    assert easel_app.task("palette", colors=["red", "blue"]).images[0].format == "png"
    answer = easel_client.post("/recipes/palette", json={"colors": ["red", "blue"]})
    assert answer.json()["colors"] == ["red", "blue"]


def test_a_tab(easel_app):
    (owned,) = easel_app.extensions.hooks.tabs
    assert (owned.extension, owned.value.title) == ("recipes", "Recipes")


def test_what_all_this_would_do(easel_client):
    body = {"prompt": "a cat", "alwayson_scripts": {"Mood": {"args": ["at night"]}}}
    trace = easel_client.post("/easel/v1/explain", json=body).json()["trace"]
    (line,) = [one for one in trace if one["hook"] == "rewrite_prompt"]
    assert line["change"].startswith("positive: 'a cat' → 'a cat, at night'")
