"""`pinxit push`: publish a run on the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Flag, Json, RunFolder
from pinxit.hub.names import MESSAGE

Name = Annotated[Positional[str], arg(metavar="OWNER/NAME")]


def push(
    run: RunFolder,
    name: Name,
    private: Flag = False,
    revision: str | None = None,
    message: str = MESSAGE,
    license: str | None = None,
    with_images: Flag = False,
    overwrite: Flag = False,
    dry_run: Flag = False,
    json: Json = False,
) -> None:
    """Publish a run on the Hugging Face Hub: weights, options, metrics, samples and a model card.

    No images of the data, names of their files, paths, checkpoints or logs are sent; what is sent,
    and what is not, is printed. Log in first: hf auth login, or HF_TOKEN.

    Examples:
        pinxit push runs/digits-vae me/digits-vae --dry-run
        pinxit push runs/digits-vae me/digits-vae --private --license apache-2.0

    Args:
        run: folder of a trained run
        name: repository of the Hub, made if it is not there
        private: make the repository private, if it is new; one that is public already is refused
        revision: branch to publish to, made if it is not there; None: the main one
        message: message of the commit
        license: license of the model, as the Hub names it, such as apache-2.0; None: none is stated
        with_images: also send what shows images of your data: examples, reconstructions, the report
        overwrite: publish to a repository that holds another model than a run of pinxit
        dry_run: list what would be sent and what would not, and send nothing
        json: print what was sent as JSON
    """
    from pinxit.hub.push import PushOptions, push_run
    from pinxit.runs import Run

    options = PushOptions(private, revision, message, license, with_images, overwrite)
    result = push_run(Run(run), name, options, dry_run=dry_run)
    if json:
        console.out_json(result.to_json())
        return
    console.out(str(result))
    if result.published:
        console.out(result.url)
