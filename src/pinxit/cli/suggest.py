"""Suggestions for misspelt commands, options and families, and for common synonyms."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from pinxit.errors import UsageError, did_you_mean, find_closest
from pinxit.models import nearest_family

COMMANDS = {
    **dict.fromkeys(("generate", "gen", "create", "make", "unconditional"), "sample"),
    **dict.fromkeys(("fit", "learn", "finetune", "fine-tune"), "train"),
    **dict.fromkeys(("inpaint", "inpainting", "fill", "outpaint"), "complete"),
    **dict.fromkeys(("autoencode", "reconstruction"), "reconstruct"),
    **dict.fromkeys(("describe", "image2text", "img2txt", "img2text"), "caption"),
    **dict.fromkeys(("text2image", "txt2img", "text2img", "t2i", "prompt"), "draw"),
    **dict.fromkeys(("img2img", "change", "modify"), "edit"),
    **dict.fromkeys(("web", "ui", "gui", "studio", "server", "api"), "serve"),
    **dict.fromkeys(("test", "metrics", "fid", "benchmark"), "evaluate"),
    **dict.fromkeys(("encode", "features", "embeddings"), "embed"),
    **dict.fromkeys(("likelihood", "outliers", "anomaly"), "score"),
    **dict.fromkeys(("morph", "blend", "interp"), "interpolate"),
    **dict.fromkeys(("latents", "sweep"), "traverse"),
    **dict.fromkeys(("show", "view", "inspect", "preview"), "look"),
    **dict.fromkeys(("data", "datasets", "dataset"), "sources"),
    **dict.fromkeys(("list", "ls", "models"), "runs"),
    **dict.fromkeys(("page", "html"), "report"),
    **dict.fromkeys(("recipes", "example", "examples"), "recipe"),
    **dict.fromkeys(("why", "blurry", "diagnose", "advise"), "explain"),
    **dict.fromkeys(("completions", "autocomplete"), "completion"),
    **dict.fromkeys(("onnx", "convert", "quantize"), "export"),
}

OPTIONS = {
    "--lr": "--learning-rate",
    **dict.fromkeys(("--bs", "--batch", "--batchsize"), "--batch-size"),
    **dict.fromkeys(("--num-epochs", "--max-epochs", "--n-epochs"), "--epochs"),
    **dict.fromkeys(("--num-steps", "--max-steps", "--iterations", "--iters"), "--steps"),
    **dict.fromkeys(("--time", "--duration", "--budget"), "--minutes"),
    **dict.fromkeys(("--resolution", "--image-size", "--img-size", "--res"), "--size"),
    **dict.fromkeys(("--output", "--output-dir", "--outdir", "--save", "--to-file"), "--out"),
    **dict.fromkeys(("--n", "--num", "--num-samples", "--count", "--number"), "-n"),
    **dict.fromkeys(("--class", "--class-label", "--y"), "--label"),
    **dict.fromkeys(("--cfg", "--cfg-scale", "--guidance-scale"), "--guidance"),
    **dict.fromkeys(("--beams", "--beam-size", "--beam"), "--num-beams"),
    **dict.fromkeys(("--temp", "--t"), "--temperature"),
    **dict.fromkeys(("--gpu", "--cuda", "--cpu", "--gpus"), "--device"),
    **dict.fromkeys(("--silent", "-q", "--no-progress"), "--quiet"),
    **dict.fromkeys(("--force", "--replace"), "--overwrite"),
    **dict.fromkeys(("--latent", "--latents", "--z-dim", "--latent-size"), "--latent-dim"),
    **dict.fromkeys(("--hidden", "--dim", "--hidden-size", "--channels", "--embed-dim"), "--width"),
    **dict.fromkeys(("--layers", "--num-layers", "--n-layers"), "--depth"),
    **dict.fromkeys(("--num-heads", "--n-heads"), "--heads"),
    **dict.fromkeys(("--wd", "--decay"), "--weight-decay"),
    **dict.fromkeys(("--optim", "--opt"), "--optimizer"),
    **dict.fromkeys(("--dtype", "--amp", "--fp16", "--bf16", "--mixed-precision"), "--precision"),
    **dict.fromkeys(("--k",), "--top-k"),
    **dict.fromkeys(("--p",), "--top-p"),
    **dict.fromkeys(("--random-seed", "--manual-seed"), "--seed"),
    **dict.fromkeys(("--lang",), "--language"),
    **dict.fromkeys(("--show", "--watch"), "--live"),
    **dict.fromkeys(("--rerank", "--scorer"), "--reranker"),
    **dict.fromkeys(("--num-candidates", "--candidates"), "--best-of"),
    **dict.fromkeys(("--continue", "--checkpoint"), "--resume"),
}

RESUME = ("resume", "continue", "restart")  # commands that are an option of train


def unknown_command(
    name: str,
    commands: Iterable[str],
    families: Sequence[str],
    data_names: Iterable[str] = (),
    rest: Sequence[str] = (),
) -> UsageError:
    """Return the error for a command that does not exist; `rest` are its arguments."""
    words = shlex.join([name, *rest])
    if name.split(":")[0] in data_names or Path(name).exists():
        return UsageError(
            f"{name} is DATA, and a command comes first: pinxit train {words}, "
            f"or pinxit look {shlex.quote(name)}"
        )
    if name.lower() in families:
        return UsageError(f"{name.lower()} is a family: pinxit train {name.lower()} DATA")
    if name.lower() in RESUME:
        return UsageError(f"no command '{name}'. Did you mean: pinxit train --resume RUN")
    return UsageError(
        f"no command '{name}'.{did_you_mean(name, commands, COMMANDS)} See: pinxit --help"
    )


def unknown_option(name: str, flags: Iterable[str], command: str) -> UsageError:
    """Return the error for an option that a command does not have."""
    hint = did_you_mean(name, flags, OPTIONS)
    return UsageError(f"{command} has no option '{name}'.{hint} See: pinxit {command} --help")


def unknown_family(
    args: Sequence[str], families: Sequence[str], data_names: Iterable[str]
) -> UsageError:
    """Return the error for `pinxit train` without a family; it suggests the whole command."""
    name, rest = args[0], shlex.join(args[1:])
    known = f"families: {', '.join(families)}."
    if near := nearest_family(name):
        return UsageError(
            f"no {name.lower()} family; the nearest is {near}: pinxit train {near} {rest}".rstrip()
        )
    if meant := find_closest(name, families):
        return UsageError(f"no family '{name}'. Did you mean: pinxit train {meant} {rest}".rstrip())
    if meant := find_closest(name.split(":")[0], data_names):
        return UsageError(
            f"no family and no data '{name}'. Did you mean: pinxit train {meant} {rest}".rstrip()
        )
    return UsageError(f"no family '{name}'; {known} See: pinxit train --help")
