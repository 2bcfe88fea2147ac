"""An adapter made part of its base: one file of weights, read faster than two."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetagent.engine.quantize import check_type, requantise
from hetagent.errors import ModelFileError
from hetagent.learn.tune.weights import exact, open_gguf

__all__ = ["merge"]

Pairs = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]


def merge(
    base: Path | str,
    adapter: Path | str,
    *,
    to: Path | str,
    kind: str = "q8_0",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Add an adapter's low-rank terms to a model's weights.

    The sums are written in float16, the rest as it is, and all of it is then requantised. Every
    skill then has weights of its own, where adapters share a base's.

    Args:
        base: The GGUF file that the adapter is for.
        adapter: LoRA weights in GGUF.
        to: The file to write; it must not exist, and is complete once this returns.
        kind: Type of the result, as of `hetagent models optimize`.
        on_progress: Called with the tensors that are requantised and those there are.

    Raises:
        MissingExtraError: The package `gguf` is not installed.
        UnknownModelError: There is no such type.
        ModelFileError: A file cannot be read or written, or the adapter is for another model.
    """
    check_type(kind)
    target = Path(to)
    if target.exists():
        raise ModelFileError(f"{target} exists already.", hint="Remove it, or name another file.")
    reader, terms = open_gguf(Path(base)), open_gguf(Path(adapter))
    pairs, scale = _terms(terms, Path(adapter))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".merge-") as folder:
        whole = Path(folder) / "merged.gguf"
        _write(reader, pairs, scale, whole, names=(Path(base).name, Path(adapter).name))
        requantise(whole, target, kind=kind, on_progress=on_progress)
    return target


def _terms(reader: Any, path: Path) -> tuple[Pairs, float]:
    """The adapter's pairs by tensor name, and what their products are multiplied by."""
    tensors = {one.name: exact(one) for one in reader.tensors}
    names = {name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")}
    alpha = reader.fields.get("adapter.lora.alpha")
    if not names or alpha is None:
        raise ModelFileError(
            f"{path.name} is no LoRA adapter.", hint="Name the adapter.gguf of hetagent tune."
        )
    pairs = {name: (tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]) for name in names}
    rank = next(iter(pairs.values()))[0].shape[0]
    return pairs, float(alpha.contents()) / rank


def _write(reader: Any, pairs: Pairs, scale: float, path: Path, *, names: tuple[str, str]) -> None:
    """Write the base's metadata and tensors, with the terms added."""
    from gguf import GGUFValueType, GGUFWriter, LlamaFileType

    sizes = {one.name: tuple(reversed(one.shape.tolist())) for one in reader.tensors}
    wrong = [
        name
        for name, (down, up) in pairs.items()
        if sizes.get(name) != (up.shape[0], down.shape[1])
    ]
    if wrong:
        raise ModelFileError(
            f"{names[1]} is for another model than {names[0]}: {wrong[0]} does not fit.",
            hint="Name the weights that it was trained on.",
        )
    writer: Any = GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = field.contents()
        if field.name == "general.file_type":
            value = int(LlamaFileType.MOSTLY_F16)
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, kind, sub_type=inner)
    for one in reader.tensors:
        if one.name in pairs:
            down, up = pairs[one.name]
            writer.add_tensor(one.name, (exact(one) + scale * (up @ down)).astype(np.float16))
        else:
            writer.add_tensor(one.name, one.data, raw_dtype=one.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
