"""`page.json`: the blocks of a page as a file, so that the page can be drawn again without the study."""

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from reshim.errors import UserError
from reshim.report.blocks import KINDS, Block, Page

NAME = "page.json"


def write_page(folder: Path, page: Page) -> Path:
    """Write `page.json` beside first, then rename."""
    kinds = {block: kind for kind, block in KINDS.items()}
    content = dataclasses.asdict(dataclasses.replace(page, blocks=()))
    content["blocks"] = [{"kind": kinds[type(block)]} | dataclasses.asdict(block) for block in page.blocks]
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{NAME}.partial"
    beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return beside.replace(folder / NAME)


def read_page(folder: Path) -> Page:
    """Read `page.json`.

    Raises
    ------
    UserError
        If it is no JSON, or names a kind of block or a field that this version does not know.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        blocks = tuple(_block(entry) for entry in content.pop("blocks", []))
        return Page(**content, blocks=blocks)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no page that this version draws ({error}); run the study again") from None


def _block(entry: dict[str, Any]) -> Block:
    kind = entry.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"block of kind {kind!r}; known are {', '.join(KINDS)}")
    return _build(KINDS[kind], entry)


def _build(kind: Any, value: Any) -> Any:
    """A value as its annotation has it: nested dataclasses from dictionaries, tuples from lists."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        return kind(**{name: _build(hints[name], each) for name, each in value.items()})
    if typing.get_origin(kind) is tuple:
        return tuple(_build(typing.get_args(kind)[0], each) for each in value)
    return value
