"""The command and the program that return one image of the page again, pixel for pixel."""

from __future__ import annotations

import json
import shlex
from typing import Any

from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.studio.request import StudioRequest

INPUT_FILE, MASK_FILE, OUTPUT_FILE = "input.png", "mask.png", "image.png"


def make_recipe(
    run: LoadedRun, path: str, fields: StudioRequest, prompt_used: str, index: int
) -> dict[str, str]:
    """Return `command` and `program` for image `index` of a request's seed.

    The program is for the client of OpenAI, without its first lines, which name the server; or for
    pinxit (`library`) if the API has no request for the image.
    """
    command = make_command(path, fields, prompt_used, index)
    if fields.task == "sample" and "draw" in run.abilities:  # the API draws with such a run
        return {"command": command, "library": make_library_program(path, fields, index)}
    return {"command": command, "program": make_client_program(run.name, fields, index)}


def make_command(path: str, fields: StudioRequest, prompt_used: str, index: int) -> str:
    """Return the command line; its input files are those that the page offers beside it."""
    inputs, options = [path], []
    if fields.task in ("edit", "complete"):
        inputs.append(INPUT_FILE)
    if fields.task == "complete":
        options += ["--mask", MASK_FILE, "--only-completions"]
    else:
        options += ["-n", "1"]
    if fields.task == "sample" and fields.label:
        options += _label_args(fields.label)
    if fields.task in ("draw", "edit"):
        inputs.append(prompt_used)
        options += ["--language", fields.language] if fields.language else []
    for name, value in _options(fields, index).items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    options += ["--out", OUTPUT_FILE]
    if any(text.startswith("-") for text in inputs):  # a text, not an option
        return shlex.join(["pinxit", fields.task, *options, "--", *inputs])
    return shlex.join(["pinxit", fields.task, *inputs, *options])


def _label_args(label: str) -> list[str]:
    return [f"--label={label}"] if label.startswith("-") else ["--label", label]


def _options(fields: StudioRequest, index: int) -> dict[str, Any]:
    """Return the seed, the index and the options of generation of one image."""
    return {"seed": fields.seed, **({"start": index} if index else {}), **fields.options}


def make_client_program(model: str, fields: StudioRequest, index: int) -> str:
    """Return the call of OpenAI's client that returns the image, and saves it."""
    extra = _options(fields, index)
    if fields.language and fields.task in ("draw", "edit"):
        extra["language"] = fields.language
    method, prompt, files = "generate", fields.prompt, ""
    if fields.task == "sample":
        prompt = fields.label or "an image"
    if fields.task in ("edit", "complete"):
        method = "edit"
        prompt = fields.prompt or "complete the image"
        files = f'    image=open("{INPUT_FILE}", "rb"),\n'
    if fields.task == "complete":
        files += f'    mask=open("{MASK_FILE}", "rb"),\n'
    return (
        f"result = client.images.{method}(\n"
        f"    model={_quote(model)},\n"
        f"{files}"
        f"    prompt={_quote(prompt)},\n"
        f"    extra_body={_literal(extra)},\n"
        f")\n" + _save_line()
    )


def _save_line() -> str:
    content = "base64.b64decode(result.data[0].b64_json)"
    return f'with open("{OUTPUT_FILE}", "wb") as file:\n    file.write({content})'


def make_library_program(path: str, fields: StudioRequest, index: int) -> str:
    """Return a program for pinxit itself."""
    options = _options(fields, index)
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    label = f", label={_quote(fields.label)}" if fields.label else ""
    return (
        "import pinxit\n\n"
        f"model = pinxit.load({_quote(path)})\n"
        f'model.sample(1{arguments}{label}).save("{OUTPUT_FILE}")'
    )


def make_latent_program(path: str, z: list[float]) -> str:
    """Return a program that decodes latents of the prior's noise."""
    return (
        "import numpy as np\n"
        "import pinxit\n"
        "from pinxit.sampling.prior_noise import from_noise\n\n"
        f"model = pinxit.load({_quote(path)})\n"
        f"u = np.array([{json.dumps(z)}], np.float32)\n"
        f'model.decode(from_noise(model, u)).save("{OUTPUT_FILE}")'
    )


def _quote(text: str) -> str:
    """Return a text as a literal of Python in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _literal(options: dict[str, Any]) -> str:
    values = {name: _quote(v) if isinstance(v, str) else repr(v) for name, v in options.items()}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
