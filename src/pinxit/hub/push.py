"""`push`: publish a run on the Hugging Face Hub, in one commit."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Container, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.console import format_bytes, pluralize
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra
from pinxit.hub.card import LIBRARY, CardOptions, write_card
from pinxit.hub.contents import (
    CARD,
    FITTED_FILE,
    WEIGHTS,
    Contents,
    Entry,
    collect_contents,
    is_published_name,
)
from pinxit.hub.failures import explain_failure
from pinxit.hub.names import MESSAGE, HubName, parse_hub_name
from pinxit.runs import Run
from pinxit.training.run_lock import is_locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
PLAIN_FILES = (CARD, ".gitattributes", ".gitignore", "LICENSE", "LICENSE.md", "LICENSE.txt")


@dataclass(frozen=True)
class PushOptions:
    """Options of publishing a run."""

    # make the repository private, if it is new; one that is public already is refused
    private: bool = False
    # branch to publish to, made if it is not there; None: the main one
    revision: str | None = None
    # message of the commit
    message: str = MESSAGE
    # license of the model, as the Hub names it (apache-2.0, cc-by-4.0, ...); None: none is stated
    license: str | None = None
    # also send what shows images of your data: examples, reconstructions, the report
    with_images: bool = False
    # replace a repository that holds another model than a run of pinxit
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.message.strip():
            raise UsageError("the message of the commit is empty.")
        if self.license is not None and not LICENSE.fullmatch(self.license):
            raise UsageError(f"a license is named as in apache-2.0, not '{self.license}'.")
        revision = self.revision
        if revision is not None and not re.fullmatch(r"\w[\w./-]*", revision, re.ASCII):
            raise UsageError(f"a branch is named as in v1 or trial-2, not '{revision}'.")


@dataclass(frozen=True)
class PushResult:
    """What was published, or would be with `dry_run`."""

    url: str
    files: dict[str, int]  # name -> bytes
    left_out: dict[str, str]  # what of the run folder is not sent, and why
    notes: dict[str, str]  # what a file holds
    published: bool
    commit: str | None = None

    def __str__(self) -> str:
        total = format_bytes(sum(self.files.values()))
        verb = "published" if self.published else "to be published"
        lines = [f"{verb} at {self.url}: {pluralize(len(self.files), 'file')}, {total}"]
        width = max(map(len, [*self.files, *self.left_out]))
        lines += [
            f"  {name:<{width}}  {format_bytes(size):>9}  {self.notes.get(name, '')}".rstrip()
            for name, size in self.files.items()
        ]
        if self.left_out:
            lines.append("not sent:")
            lines += [f"  {name:<{width}}  {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return dataclasses.asdict(self)


def push_run(
    run: Run, name: str, options: PushOptions | None = None, *, dry_run: bool = False
) -> PushResult:
    """Publish a run as `owner/name`; with `dry_run` return what would be sent, and send nothing.

    All files are one commit: after an error the repository is as it was. Files that an earlier
    commit of a run sent, and this one does not, are deleted in it.

    Raises UsageError for a name or an option that is not valid, PinxitError for a run that is
    damaged, without weights or in training, and if the hub refuses it or cannot be reached.
    """
    options = options or PushOptions()
    target = parse_hub_name(name, "the name of a model of the hub is owner/name")
    if target.revision is not None and options.revision is not None:
        raise UsageError(f"give the branch once: {name}, or --revision {options.revision}.")
    target = target._replace(revision=target.revision or options.revision)
    run.check_weights()
    require_extra("hub", "publishing a run")
    if is_locked(run):
        raise PinxitError(f"{run.path} is being trained: wait for it, or stop it first.")
    contents = prepare(run, target, options)
    if dry_run:
        return _describe(target, contents)
    with explain_failure(f"{run.path} is not published", target.repo_id):
        commit = _publish(target, contents, options)
    return _describe(target, contents, commit)


def prepare(run: Run, target: HubName, options: PushOptions) -> Contents:
    """Return what is published of a run, with its card.

    The model is loaded from what is sent: PinxitError if it does not load.
    """
    contents = collect_contents(run, options.with_images)
    evaluation: Mapping[str, Any] = {}
    if "evaluation.json" in contents.files:
        evaluation = decode_json(contents.files["evaluation.json"].read())
    with _folder_of(contents) as folder:
        from pinxit.models.abilities import abilities

        public = Run(folder)
        names = abilities(_load(public, run))
        grids = [file for file in contents.files if file.startswith("samples/") and ".png" in file]
        card_options = CardOptions(options.license, grids[0] if grids else None)
        card = write_card(public, target, names, evaluation, card_options)
    note = "the model card" + ("" if options.license else "; states no license (--license)")
    return dataclasses.replace(
        contents, files={CARD: Entry(card.encode(errors="replace"), note), **contents.files}
    )


def _load(public: Run, run: Run) -> Any:
    try:
        return public.load()
    except PinxitError as error:
        text = str(error).replace(str(public.path), str(run.path))
        raise PinxitError(f"not published, since it cannot be loaded: {text}") from None


@contextmanager
def _folder_of(contents: Contents) -> Iterator[Path]:
    """A temporary folder with the files that loading a model needs, as they are sent."""
    folder = Path(tempfile.mkdtemp(prefix="pinxit-push-"))
    try:
        for name in ("config.json", WEIGHTS, FITTED_FILE):
            if (entry := contents.files.get(name)) is None:
                continue
            if isinstance(entry.content, Path):
                (folder / name).symlink_to(entry.content.resolve())
            else:
                (folder / name).write_bytes(entry.content)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _describe(target: HubName, contents: Contents, commit: str | None = None) -> PushResult:
    from huggingface_hub import constants

    branch = f"/tree/{target.revision}" if target.revision else ""
    return PushResult(
        url=f"{constants.ENDPOINT}/{target.repo_id}{branch}",
        files={name: entry.size for name, entry in contents.files.items()},
        left_out=contents.left_out,
        notes={name: entry.note for name, entry in contents.files.items()},
        published=commit is not None,
        commit=commit,
    )


def _publish(target: HubName, contents: Contents, options: PushOptions) -> str:
    """Make the repository and the branch if they are not there, and commit; returns the commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(library_name=LIBRARY)
    repo = target.repo_id
    api.create_repo(repo, private=options.private or None, exist_ok=True)
    info = api.model_info(repo)
    _check_repository(info, options)
    if target.revision is not None:
        api.create_branch(repo, branch=target.revision, exist_ok=True)
        info = api.model_info(repo, revision=target.revision)
        _check_repository(info, options)
    old = {sibling.rfilename for sibling in info.siblings or []}
    stale = find_stale(old, info.library_name, contents.files)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, entry.content) for name, entry in contents.files.items()
    ]
    operations += [CommitOperationDelete(name) for name in stale]
    commit = api.create_commit(
        repo, operations, commit_message=options.message, revision=target.revision,
        parent_commit=info.sha if old else None,
    )  # fmt: skip
    _check_complete(api, target, commit.oid, contents)
    return commit.oid


def _check_repository(info: ModelInfo, options: PushOptions) -> None:
    """Raise PinxitError for a public repository if a private one is wanted, and for another model.

    A repository with a card, a license and git's own files is taken for an empty one.
    """
    if options.private and not info.private:
        raise PinxitError(
            f"{info.id} is public already.\n"
            "Make it private on its page, choose another name, or leave out --private."
        )
    names = {sibling.rfilename for sibling in info.siblings or []} - set(PLAIN_FILES)
    if names and info.library_name != LIBRARY and not options.overwrite:
        example = sorted(names)[0]
        raise PinxitError(
            f"{info.id} holds something else than a run of pinxit: {example}, for example.\n"
            "Choose another name, or put the run beside it with --overwrite."
        )


def find_stale(old: Iterable[str], library: str | None, sent: Container[str]) -> list[str]:
    """Return the files that an earlier commit of a run sent and this one does not.

    None of a repository whose card names another library, or none: they are another model's.
    """
    if library != LIBRARY:
        return []
    return sorted(name for name in old if name not in sent and is_published_name(name))


def _check_complete(api: HfApi, target: HubName, commit: str, contents: Contents) -> None:
    """Raise PinxitError if a file is not in the commit: a .gitignore there may hide some."""
    there = set(api.list_repo_files(target.repo_id, revision=commit))
    if missing := sorted(contents.files.keys() - there):
        raise PinxitError(
            f"the Hub left out {', '.join(missing)}: look at the .gitignore of {target.repo_id}."
        )
