"""The documentation of the Python standard library as it is installed here, one Markdown document a module."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

NAMES: Final = """
abc argparse array ast base64 bisect calendar cmath codecs collections configparser contextlib copy csv dataclasses
datetime decimal difflib email enum fileinput filecmp fnmatch fractions functools getpass gettext glob graphlib gzip hashlib
heapq hmac html http.client http.server imaplib io ipaddress itertools json keyword linecache locale logging lzma math
mimetypes operator os pathlib pickle platform pprint queue random re sched secrets selectors shelve shlex shutil signal
smtplib socket sqlite3 statistics string struct subprocess tarfile tempfile textwrap threading time timeit tokenize
traceback types unicodedata urllib.parse urllib.request uuid warnings wave weakref webbrowser zipfile zlib
"""
MODULES: Final = tuple(NAMES.split())

OVERVIEW_CHARACTERS: Final = 800
MEMBER_CHARACTERS: Final = 240
DOCUMENT_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Document:
    source: str
    title: str
    content: str


def documents(modules: tuple[str, ...] = MODULES) -> Iterator[Document]:
    """Those of `modules` that this Python has and that say something about themselves."""
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # some builds leave modules out
        content = _described(name, module)
        if content:
            yield Document(source=f"python/{name}", title=name, content=content)


def _described(name: str, module: Any) -> str:
    overview = (inspect.getdoc(module) or "")[:OVERVIEW_CHARACTERS]
    sections = [f"# {name}\n\n{overview}"] if overview else []
    room = DOCUMENT_CHARACTERS - len(overview)
    for member, text in _members(module):
        section = f"## {name}.{member}\n\n{text}"
        room -= len(section)
        if room < 0:
            break
        sections.append(section)
    return "\n\n".join(sections)


def _members(module: Any) -> Iterator[tuple[str, str]]:
    """Name and first paragraph of what the module offers; what has no words of its own is left out."""
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
        member = getattr(module, name, None)
        if not (inspect.isroutine(member) or inspect.isclass(member)) or not isinstance(member.__doc__, str):
            continue
        text = inspect.cleandoc(member.__doc__)
        # Signatures that C code puts first are followed by an empty line, too.
        paragraphs = [part for part in text.split("\n\n") if not part.startswith(f"{name}(")] or [text]
        if paragraphs[0].strip():
            yield name, paragraphs[0][:MEMBER_CHARACTERS]
