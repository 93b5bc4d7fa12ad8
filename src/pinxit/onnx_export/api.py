"""`export`: write parts of a run as ONNX files that equal it, or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.console import format_bytes
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError, did_you_mean
from pinxit.extras import require_extra
from pinxit.models import get_family
from pinxit.onnx_export.output import resolve_output
from pinxit.runs import Run

if TYPE_CHECKING:
    from pinxit.models.export_parts import ExportPart, RefusedPart
    from pinxit.onnx_export.images import Samples

DEFAULT_OPSET = 18  # of the exporter: the oldest it writes, which most runtimes have
MAX_OPSET = 22

# what users ask for, and why it is no part
CANNOT_BE_EXPORTED = {
    **dict.fromkeys(
        ("sample", "generate", "draw"),
        "Random numbers are drawn by the program that runs the parts, and given to them.",
    ),
    "score": "A likelihood is computed from the outputs, by the program that runs the parts.",
    "text_tokenizer": "Texts become tokens outside: the tokenizer is in the encoder's metadata.",
}


@dataclass(frozen=True)
class ExportedPart:
    """A part that was exported, and how it compares with the original."""

    name: str
    path: Path | None  # None: not written
    summary: str
    inputs: dict[str, str]  # name -> axes
    outputs: dict[str, str]
    bytes: int
    float_bytes: int  # before quantization
    largest_difference: float  # of an output, before quantization
    loss: tuple[str, ...] = ()  # by quantization


@dataclass(frozen=True)
class Exported:
    """What `export` wrote: `path` is the file, or the folder of all parts.

    `left_out` has the parts that ONNX cannot express, and why, where all were asked for.
    """

    path: Path
    opset: int
    compared_on: str
    parts: tuple[ExportedPart, ...]
    left_out: tuple[RefusedPart, ...] = ()

    def lines(self) -> list[str]:
        """Return the parts with their inputs, outputs, sizes and differences."""
        lines: list[str] = []
        for part in self.parts:
            lines += [f"{part.name}: {part.summary}", *_describe(part, self)]
        return lines + [f"{name} cannot be exported: {reason}" for name, reason in self.left_out]

    def __repr__(self) -> str:
        return "\n".join([f"Exported({str(self.path)!r})", *self.lines()])


def _describe(part: ExportedPart, exported: Exported) -> list[str]:
    inputs, outputs = (
        ", ".join(f"{name} [{', '.join(axes.split())}]" for name, axes in values.items())
        for values in (part.inputs, part.outputs)
    )
    size = f"{format_bytes(part.bytes)}, opset {exported.opset}"
    if part.loss:
        size = f"int8: {size}; as floats {format_bytes(part.float_bytes)}"
    difference = f"{part.largest_difference:.1e}"
    return [
        f"  {inputs} -> {outputs}",
        f"  largest difference from the run, on {exported.compared_on}: {difference}",
        f"  {size}",
        *(f"  int8 against the run: {line}" for line in part.loss),
    ]


def export(
    run: str | Path | Run,
    out: str | Path | None = None,
    *,
    part: str | None = None,
    opset: int = DEFAULT_OPSET,
    int8: bool = False,
    overwrite: bool = False,
    images: Images | None = None,
) -> Exported:
    """Write a part of a run, or all of them, as ONNX.

    `out` is a file `.onnx`, or a folder for all parts; by default a file in the run folder. `part`
    is by default the most useful one of the family. A file is written only if onnxruntime computes
    what the run computes, within 1e-4 on 64 of the run's images, or of `images`. With `int8` it is
    quantized after that.

    Raises UsageError for a part that the run does not have or ONNX cannot express, for an unknown
    opset, and for a file that exists, unless `overwrite`; PinxitError if the export differs.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    run.check_weights()
    check_options(opset)
    output = resolve_output(run, out, int8=int8)
    model = run.load("cpu")
    chosen = choose_parts(model, part, run.family, every=output.every_part)
    output.check([each.name for each in chosen], overwrite=overwrite)
    from pinxit.models.export_parts import RefusedPart
    from pinxit.onnx_export.images import read_samples
    from pinxit.onnx_export.quantize import NothingToQuantize

    samples = read_samples(run, model, images)
    if int8 and samples.calibration is None:
        raise UsageError(
            "--int8 is measured on images, and the run's data is not here; name DATA.\n"
            f"The reason: {samples.missing}."
        )
    every = output.every_part and part is None
    refused = list(list_refused_parts(model, run.family)) if every else []
    contents, parts = {}, []
    for each in chosen:
        try:
            contents[each.name], made = _export_part(
                run, each, samples, opset, output.file(each.name), int8=int8
            )
        except NothingToQuantize:
            if not every:
                raise
            refused.append(RefusedPart(each.name, "it has no weights to quantize; without --int8"))
            continue
        parts.append(made)
    if not parts:
        raise UsageError("no part of this run has weights to quantize; leave --int8 out.")
    output.write(contents)
    path = output.path if every else output.file(chosen[0].name)
    return Exported(path, opset, samples.description, tuple(parts), tuple(refused))


def export_bytes(run: Run, model: Any, part: str, images: Images | None = None) -> bytes:
    """Return a part of a loaded model as the content of an ONNX file; raises as `export` does."""
    check_options(DEFAULT_OPSET)
    from pinxit.onnx_export.images import read_samples

    (chosen,) = choose_parts(model, part, run.family)
    samples = read_samples(run, model, images)
    return _export_part(run, chosen, samples, DEFAULT_OPSET, None)[0]


def check_options(opset: int) -> None:
    """Raise UsageError for an unknown opset, MissingExtraError without the packages."""
    require_extra("export", "exporting a run")
    if not DEFAULT_OPSET <= opset <= MAX_OPSET:
        raise UsageError(f"opset must be {DEFAULT_OPSET} to {MAX_OPSET}, not {opset}.")


def choose_parts(
    model: Any, name: str | None, family: str, *, every: bool = False
) -> list[ExportPart]:
    """Return the parts to export: the named one, all, or the most useful one.

    Raises UsageError for a part that the model does not have, with the reason if it is known.
    """
    from pinxit.models.export_parts import ExportPart

    declared = get_family(family).export_parts(model)
    parts = [part for part in declared if isinstance(part, ExportPart)]
    if name is None and every:
        return parts
    chosen = declared[0].name if name is None else name
    names = [part.name for part in parts]
    for part in declared:
        if part.name == chosen:
            if isinstance(part, ExportPart):
                return [part]
            raise UsageError(
                f"this run's {part.name} cannot be exported: {part.reason}.\n"
                f"Its other parts: {', '.join(names)}."
            )
    text = f"this {family} run has no part '{chosen}'; its parts: {', '.join(names)}."
    if chosen in CANNOT_BE_EXPORTED:
        raise UsageError(f"{text}\n{CANNOT_BE_EXPORTED[chosen]}")
    raise UsageError(text + did_you_mean(chosen, names))


def list_refused_parts(model: Any, family: str) -> tuple[RefusedPart, ...]:
    """Return the parts that ONNX cannot express."""
    from pinxit.models.export_parts import RefusedPart

    declared = get_family(family).export_parts(model)
    return tuple(part for part in declared if isinstance(part, RefusedPart))


def _export_part(
    run: Run,
    part: ExportPart,
    samples: Samples,
    opset: int,
    path: Path | None,
    *,
    int8: bool = False,
) -> tuple[bytes, ExportedPart]:
    """Return the content of a part's file. Raises PinxitError if it differs from the original."""
    import torch

    from pinxit.onnx_export.convert import add_metadata, convert
    from pinxit.onnx_export.verify import largest_difference, limit, open_session

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # captions are drawn
        examples = part.examples(samples.compared)
        for_ranges = part.examples(samples.calibration) if int8 and samples.calibration else ()
    model = convert(part, examples[0], opset)
    facts = _facts(run, part, int8)
    add_metadata(model, part, facts)
    content = floats = model.SerializeToString()
    difference = largest_difference(open_session(floats), part, examples)
    if not difference <= limit(part):
        raise PinxitError(
            f"the exported {part.name} differs from the run by {difference:.1e}, more than "
            f"{limit(part):.0e}, on {samples.description}. Nothing is written; try another --opset."
        )
    loss: Sequence[object] = ()
    if int8:
        from pinxit.onnx_export.quantize import measure_loss, quantize

        quantized = quantize(model, part, for_ranges)
        add_metadata(quantized, part, facts)
        content = quantized.SerializeToString()
        loss = measure_loss(floats, content, part, examples)
    return content, ExportedPart(
        part.name,
        path,
        part.summary,
        {value.name: value.axes for value in part.inputs},
        {value.name: value.axes for value in part.outputs},
        len(content),
        len(floats),
        difference,
        tuple(map(str, loss)),
    )


def _facts(run: Run, part: ExportPart, int8: bool) -> dict[str, str]:
    """Return what the metadata says of the run."""
    facts = {
        "pinxit_version": version("pinxit"),
        "family": run.family,
        "images": "values from 0 (black) to 1 (white), batch x channel x height x width",
        "weights_sha256": hashlib.sha256(run.weights_path.read_bytes()).hexdigest(),
        "data_fingerprint": str((run.config.get("data") or {}).get("fingerprint") or ""),
        "precision": "int8" if int8 else "float32",
    }
    if any(value.name == "label" for value in part.inputs):
        facts["labels"] = "\n".join(run.info.label_names)
    return facts
