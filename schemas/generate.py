"""`make schemas`: writes everything that follows from `schemas/`; `--check` says what is stale and exits 1."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click

from schemas.compatibility import IncompatibleError, Releases
from schemas.documents import asyncapi, topics_page
from schemas.load import HERE, load
from schemas.python import records_module, topics_module

ROOT = HERE.parent


def generated() -> dict[Path, str]:
    """Every derived file and its text. Raises IncompatibleError for a change that breaks a released version."""
    contract = load()
    releases = Releases(HERE / "released")
    files = releases.add(contract)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files[ROOT / "libs/daytwo/schemas.json"] = json.dumps(releases.registry(files), indent=1) + "\n"
    files[ROOT / "libs/daytwo/records.py"] = records_module(contract)
    files[ROOT / "libs/daytwo/topics.py"] = topics_module(contract, releases.ids)
    files[ROOT / "docs/topics.md"] = topics_page(contract, releases.ids)
    files[ROOT / "docs/asyncapi.yaml"] = asyncapi(contract, version)
    return files


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is stale.")
def main(check: bool) -> None:
    """Writes the Python records, the topic constants, the registry's data and the documents from schemas/."""
    try:
        files = generated()
    except (IncompatibleError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    stale = {path: text for path, text in files.items() if not path.exists() or path.read_text() != text}
    if check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise click.ClickException(f"stale, run `make schemas`: {names}")
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(f"wrote {path.relative_to(ROOT)}")
    click.echo(f"{len(files)} files follow from schemas/; {len(stale)} written")


if __name__ == "__main__":
    main()
