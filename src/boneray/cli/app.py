"""The `boneray` command."""

from __future__ import annotations

import sys
import warnings

import typer

from boneray.cli import (
    about,
    benchmark,
    data,
    download,
    evaluate,
    inspect,
    learn,
    measure,
    models,
    project,
    published,
    rank,
    serve,
    shape,
    submission,
    use,
)

app = typer.Typer(
    name="boneray",
    help="Radiographs with known geometry in, labelled 3D bones with measurements out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (
    download,
    data,
    inspect,
    project,
    learn,
    models,
    use,
    measure,
    evaluate,
    benchmark,
    published,
    submission,
    rank,
    serve,
    shape,
    about,
):
    room.add_commands(app)


def main() -> None:
    """Run a command; an error the user can mend is one line on stderr and exit code 2."""
    from boneray.core.errors import BonerayError

    warnings.simplefilter("ignore")  # what a user must know is said in our own words
    try:
        app()
    except BonerayError as error:
        fail(str(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        fail(f"the system refused{where}: {error.strerror or error}")
    except MemoryError:
        fail("this needs more memory than there is; use fewer voxels, pixels or cases")
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)


def fail(message: str) -> None:
    """One line on stderr, exit code 2."""
    typer.echo(f"boneray: {' '.join(message.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
