"""Puts the demo on Hugging Face, as a Space with all it needs: the app, the package and the weights.

python demo/push_space.py --dry-run FOLDER     # only stages the files
python demo/push_space.py --repo NAME/digitjax # needs `hf auth login` or HF_TOKEN
"""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import digitjax
from digitjax import cli
from digitjax.config import DigitjaxError
from digitjax.runs.weights import default_checkpoint

DEMO = Path(__file__).parent
PACKAGE = Path(digitjax.__file__).parent

# Files in the demo's folder that a Space doesn't need.
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyi", "push_space.py", "draw_examples.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PushArguments(cli.Arguments):
    """The arguments of `python demo/push_space.py`."""

    repo: str = ""
    """The Space, as NAME/SPACE; it is created if it doesn't exist."""
    dry_run: Path | None = None
    """Stage the files in this folder, which must be empty or new, and upload nothing."""


def stage(folder: Path) -> None:
    """Copies what the Space needs into an empty or new folder.

    Raises:
      DigitjaxError: The folder isn't empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DigitjaxError(f"{folder} is not empty: name a new folder")
    shutil.copytree(DEMO, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    shutil.copytree(PACKAGE, folder / "digitjax", ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    shutil.copytree(default_checkpoint(), folder / "digitjax" / "checkpoints" / "default")


def push(args: PushArguments) -> int:
    """Stages the Space and uploads it."""
    if args.dry_run is not None:
        stage(args.dry_run)
        print(f"staged in {args.dry_run}: python {args.dry_run / 'app.py'} runs it")
        return cli.EXIT_OK
    if not args.repo:
        raise DigitjaxError("name the Space with --repo NAME/SPACE, or stage it with --dry-run FOLDER")
    from huggingface_hub import HfApi  # takes half a second, only needed for an upload
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "space"
        stage(folder)
        try:
            HfApi().create_repo(args.repo, repo_type="space", space_sdk="gradio", exist_ok=True)
            # Older files in the Space that are no longer staged are deleted.
            commit = HfApi().upload_folder(
                folder_path=folder,
                repo_id=args.repo,
                repo_type="space",
                commit_message=f"digitjax {digitjax.__version__}",
                delete_patterns="*",
            )
        except (HfHubHTTPError, LocalTokenNotFoundError, OSError, ValueError) as error:
            raise DigitjaxError(f"{args.repo} can't be pushed: {error}") from error
    print(commit.commit_url)
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python demo/push_space.py`."""
    return cli.run(push, PushArguments, argv, program="demo/push_space.py", about="Puts the demo on Hugging Face.")


if __name__ == "__main__":
    sys.exit(main())
