"""`pinxit export`: write parts of a run as ONNX files."""

from __future__ import annotations

import dataclasses

from pinxit import console
from pinxit.cli.common import Data, Flag, Json, Out, Quiet, RunFolder, print_result


def export(
    run: RunFolder,
    data: Data = (),
    part: str | None = None,
    opset: int = 18,
    int8: Flag = False,
    out: Out = None,
    overwrite: Flag = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a part of a run as an ONNX file, for programs without pinxit.

    The file is written only if onnxruntime computes what the run computes, within 1e-4, on 64 of
    its images. The file's metadata describes inputs and outputs.

    Examples:
        pinxit export runs/digits-vae -o decoder.onnx
        pinxit export runs/digits-vae --part encoder --int8
        pinxit export runs/digits-igpt -o onnx/

    Args:
        run: run folder
        data: DATA to compare on instead (default: the run's own data)
        part: the part; VAE, tokenizer: decoder, encoder; flow: velocity, decoder, encoder,
            condition; iGPT, seq2seq: step, encoder, decoder, logits, features, image_encoder; MAE:
            reconstruct, encoder (default: the first one; all for a folder)
        opset: version of ONNX's operators, 18 to 22
        int8: quantize weights and activations to 8 bits, and measure what is lost
        out: .onnx file, or a folder for all parts (default: PART.onnx in the run folder)
        overwrite: replace files that exist
        quiet: print only the path
        json: print the parts as JSON
    """
    from pinxit.onnx_export.api import check_options
    from pinxit.onnx_export.api import export as export_run
    from pinxit.runs import Run

    opened = Run(run)
    opened.check_weights()  # before torch is imported
    check_options(opset)
    images = None
    if data:
        from pinxit.sampling.inputs import load_for_run

        images = load_for_run(opened, data, progress=not quiet)
    exported = export_run(
        opened, out, part=part, opset=opset, int8=int8, overwrite=overwrite, images=images
    )
    facts = {
        "opset": exported.opset,
        "compared_on": exported.compared_on,
        "parts": [{**dataclasses.asdict(each), "path": str(each.path)} for each in exported.parts],
        "left_out": {part.name: part.reason for part in exported.left_out},
    }
    if not json and not quiet:
        console.out("\n".join(exported.lines()))
    print_result(exported.path, json, **facts)
