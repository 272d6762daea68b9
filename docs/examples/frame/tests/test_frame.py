import base64
from io import BytesIO

from PIL import Image


def test_a_border(easel_generate):
    plain, framed = easel_generate("a cat"), easel_generate("a cat", scripts={"Frame": {"width": 8, "color": "red"}})
    before, after = (Image.open(BytesIO(result.images[0].data)) for result in (plain, framed))
    assert (before.size, after.size) == ((64, 64), (80, 80))
    assert after.getpixel((0, 0)) == (255, 0, 0)
    assert after.crop((8, 8, 72, 72)).tobytes() == before.tobytes()


def test_over_http(easel_client):
    body = {"prompt": "a cat", "width": 64, "height": 64, "steps": 1, "alwayson_scripts": {"frame": {"args": [8]}}}
    answer = easel_client.post("/sdapi/v1/txt2img", json=body).json()
    assert Image.open(BytesIO(base64.b64decode(answer["images"][0]))).size == (80, 80)


def test_a_wrong_argument_is_named(easel_client):
    body = {"prompt": "a cat", "alwayson_scripts": {"frame": {"args": [1000]}}}
    answer = easel_client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 422
    assert "argument 'width'" in answer.text
