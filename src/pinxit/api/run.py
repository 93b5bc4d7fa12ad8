"""`Run`: a run folder with the commands of the command line as methods."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pinxit import runs
from pinxit.api.checks import check_count, check_page
from pinxit.api.describe import DescribeMethods
from pinxit.api.generate import GenerateMethods
from pinxit.data.images import Images
from pinxit.data.seeds import check_seed
from pinxit.data.split_names import SplitOrAll
from pinxit.errors import UsageError
from pinxit.hub.names import MESSAGE
from pinxit.nn.device import resolve_device
from pinxit.reports.explain_record import TRIAL_MINUTES

if TYPE_CHECKING:
    from pinxit.api.inputs import AnyImages
    from pinxit.api.server import Server
    from pinxit.api.tables import Chart, CompareTable, Evaluation
    from pinxit.evaluation.options import EvalOptions
    from pinxit.hub.push import PushResult
    from pinxit.mapping.api import MapResult
    from pinxit.onnx_export.api import Exported


class Run(GenerateMethods, DescribeMethods):
    """A run folder, with the commands of the command line as methods; a notebook shows it.

    `images` may be anything that `load_images` takes, `Images`, an array or a Pillow image; without
    them a method uses the test images of the run's own data.
    """

    def _repr_html_(self) -> str:
        from pinxit.api.run_html import run_html

        return run_html(self, METHODS)

    def evaluate(
        self,
        data: AnyImages | None = None,
        options: EvalOptions | None = None,
        *,
        quiet: bool = False,
        **changes: Any,
    ) -> Evaluation:
        """Measure the run on images that it was not trained on, and write evaluation.json.

        Of data that are not the run's own evaluation-DATA.json, which is printed.

        `changes` are fields of `EvalOptions` (`split`, `iw_samples`, `distances`, ...) and of
        `GenerationParams`. Raises UsageError for any other name.
        """
        for name, instead in {"progress": "quiet", "device": "Run(path, device=...)"}.items():
            if name in changes:
                raise UsageError(f"evaluate has no option '{name}': use {instead}.")
        from pinxit.api.inputs import name_data
        from pinxit.api.tables import Evaluation
        from pinxit.evaluation.runner import evaluate

        source: Any = self.own_images if data is None else name_data(self, data, None)
        device = resolve_device(self.device)
        record = evaluate(self, source, options, device=device, progress=not quiet, **changes)
        return Evaluation(record)

    def map(
        self,
        task: str,
        images: AnyImages | None = None,
        *,
        out: str | Path,
        split: SplitOrAll = "all",
        shard: str | None = None,
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
        block_size: int = 4_096,
        language: str | None = None,
        num_captions: int | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        samples: int | None = None,
        seed: int | None = None,
        quiet: bool = False,
    ) -> MapResult:
        """Apply the model to all images, to a folder of Parquet files: `pinxit.mapping`.

        `task` is embed, caption, reconstruct, score or tokenize. The same call goes on where one
        was interrupted; `shard` i/n, counted from 0, takes every n-th block; the engine `ray`
        computes on a cluster. Raises UsageError for an `out` that holds something else.
        """
        from pinxit.api.inputs import name_data
        from pinxit.mapping.api import map_images

        numbers = {"num_captions": num_captions, "num_beams": num_beams, "samples": samples}
        check_count("block_size", block_size)
        for name, value in numbers.items():
            check_count(name, value, optional=True)
        check_seed(0 if seed is None else seed)
        return map_images(
            self,
            task,
            name_data(self, images, self.own_images),
            out=out,
            split=split,
            shard=shard,
            engine=engine,
            address=address,
            block_size=block_size,
            device=self.device,
            progress=not quiet,
            options={
                **{"language": language, "num_captions": num_captions, "num_beams": num_beams},
                **{"length_penalty": length_penalty, "temperature": temperature, "top_k": top_k},
                **{"top_p": top_p, "samples": samples, "seed": seed},
            },
        )

    def compare(
        self,
        *others: runs.Run | str | Path,
        metric: str | None = None,
        against: str | None = None,
        split: SplitOrAll | None = None,
        page: str | Path | None = None,
    ) -> CompareTable | Chart | Path:
        """Compare the metrics of evaluated runs; with `metric` and `against` plot one of them.

        `page` is an HTML file to write in place of the table: see `pinxit compare --help`. Raises
        UsageError for a run that is not evaluated on the split.
        """
        from pinxit.api.comparison import compare_runs
        from pinxit.api.hub import find_run

        check_page("page", page)
        return compare_runs([self.path, *map(find_run, others)], metric, against, split, page)

    def report(
        self, out: str | Path | None = None, *, umap: bool = False, live: bool = False
    ) -> Path:
        """Write one HTML file that shows the run, and return its path; `live`: with its decoder."""
        check_page("out", out)
        from pinxit.reports import report
        from pinxit.serve.exchange import record_or_warn

        record_or_warn(self)
        return report(self, out, images=self.own_images, umap=umap, live=live)

    def export(
        self,
        out: str | Path | None = None,
        images: AnyImages | None = None,
        *,
        part: str | None = None,
        opset: int = 18,
        int8: bool = False,
        overwrite: bool = False,
    ) -> Exported:
        """Write a part of the run as an ONNX file, see `pinxit.export`; on `images` if given."""
        check_count("opset", opset)
        from pinxit.onnx_export.api import export

        given = self.own_images if images is None else self.read(None, images, "all", None)
        return export(
            self, out, part=part, opset=opset, int8=int8, overwrite=overwrite, images=given
        )

    def explain(
        self,
        data: AnyImages | None = None,
        *,
        curve: bool = False,
        try_remedies: bool = False,
        trial_minutes: float = TRIAL_MINUTES,
        out: str | Path | None = None,
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Measure why the samples of a VAE are blurry, and what would help: `pinxit.explain`."""
        check_page("out", out)
        if not isinstance(trial_minutes, Real):
            raise UsageError(f"trial_minutes is a number, not {trial_minutes!r}.")
        from pinxit.api.inputs import name_data
        from pinxit.reports.explain import explain

        source: Any = self.own_images if data is None else name_data(self, data, None)
        return explain(
            self, source, curve=curve, try_remedies=try_remedies, trial_minutes=trial_minutes,
            out=out, device=resolve_device(self.device), progress=not quiet,
        )  # fmt: skip

    def serve(
        self,
        *others: runs.Run | str | Path,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        **options: Any,
    ) -> Server:
        """Serve this run and others through the OpenAI API, in the background.

        `port` 0 chooses a free one. `options` are those of `pinxit serve`. The value has the `url`;
        `close()` ends it. Raises PinxitError if the port is in use.
        """
        from pinxit.api.hub import find_run
        from pinxit.api.server import start_server

        paths = [self.path, *map(find_run, others)]
        device = options.pop("device", resolve_device(self.device))
        return start_server(paths, host=host, port=port, api_key=api_key, device=device, **options)

    def push(
        self,
        name: str,
        *,
        private: bool = False,
        revision: str | None = None,
        message: str = MESSAGE,
        license: str | None = None,
        with_images: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> PushResult:
        """Publish the run on the Hugging Face Hub as `owner/name`, in one commit.

        Nothing that shows images of the data is sent without `with_images`. The value prints what
        is sent and what is not; with `dry_run` nothing is sent. Raises UsageError for a name that
        is not valid, PinxitError if the hub refuses it or cannot be reached.
        """
        from pinxit.hub.push import PushOptions, push_run

        options = PushOptions(private, revision, message, license, with_images, overwrite)
        return push_run(self, name, options, dry_run=dry_run)

    def resume(self, images: Any = None, *, quiet: bool = False, **settings: Any) -> Run:
        """Continue the training from the last checkpoint; `minutes`, ... are the new budget."""
        from pinxit.training.api import resume

        given = self.own_images if images is None else images
        resumed = type(self)(resume(self, given, quiet=quiet, **settings).path, self.device)
        if isinstance(given, Images):
            resumed.attach_images(given)
        return resumed


METHODS = (
    *("sample", "reconstruct", "interpolate", "traverse", "complete", "draw", "edit", "caption"),
    *("translate", "embed", "score", "map", "evaluate", "compare", "report", "explain"),
    *("export", "serve", "push", "resume"),
)
