"""From a local folder to a causal language model and its tokenizer, whatever format the weights are in.

transformers and PEFT are imported where they are used: that takes seconds, which only loading a model should cost.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from seqmend.devices import bfloat16_pays
from seqmend.errors import InputError, ResourceError
from seqmend.progress import Progress, silent

_HEAD_BYTES = 1 << 20


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` is half the width where that is measured to be the quicker (see `seqmend.devices`), else float32."""
    if dtype == "auto":
        if bfloat16_pays(device):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise InputError(f"unknown number format {dtype!r}", expected=f"auto, {', '.join(known)}")
    return known[dtype]


def load_weights(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    adapter: Path | None = None,
    progress: Progress = silent,
) -> tuple[Any, Any]:
    """The causal language model and the tokenizer that lie in a folder, ready for inference.

    Args:
        folder: Holds either a model in the transformers layout or one GGUF file. A GGUF file is turned into the
            transformers layout once, in a folder beside it.
        device: Where the weights go.
        dtype: What they are converted to.
        adapter: A LoRA folder that was fitted to this model.
        progress: Told when a GGUF file has to be read, which takes a while.

    Raises:
        ResourceError: The folder holds no model that transformers can load, or the adapter is not its own.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        folder = _dequantised(folder, progress)
    try:
        with quiet_transformers():
            safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=dtype, **safely)
    except (OSError, ValueError, KeyError) as error:
        raise ResourceError(
            f"cannot load the language model: {error}", where=str(folder), fix="remove the folder and fetch it again"
        ) from error
    if not tokenizer.is_fast:
        raise ResourceError(
            "the model's tokenizer cannot tell where its tokens lie in the text",
            where=str(folder),
            expected="a model with a fast tokenizer (tokenizer.json)",
        )
    model = model.to(device)
    if adapter is not None:
        model = _with_adapter(model, adapter, dtype)
    model.requires_grad_(False)
    return model.eval(), tokenizer


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits that stand for a model's or adapter's files.

    Of large files, the size and both ends are read: enough to tell revisions apart without reading gigabytes.
    """
    digest = hashlib.sha256()
    wanted = {".gguf", ".safetensors", ".json", ".txt", ".model", ".jinja"}
    for path in sorted(folder.iterdir()):
        if path.suffix not in wanted or path.name in ("asset.json", "fit.json") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD_BYTES))
            if size > _HEAD_BYTES:
                file.seek(max(size - _HEAD_BYTES, _HEAD_BYTES))
                digest.update(file.read(_HEAD_BYTES))
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def quiet_transformers() -> Generator[None]:
    """No progress bars and no advice, such as one library's to another, while a call runs; errors still raise."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _with_adapter(model: Any, adapter: Path, dtype: torch.dtype) -> Any:
    from peft import PeftModel

    try:
        with quiet_transformers():
            tuned = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ResourceError(f"cannot load the adapter: {error}", where=str(adapter)) from error
    # Added into the weights it costs nothing at inference; in short formats most of it would be rounded away.
    return tuned.merge_and_unload() if dtype == torch.float32 else tuned.get_base_model()


def _dequantised(folder: Path, progress: Progress) -> Path:
    """A GGUF folder's model in the transformers layout, made at the first call.

    transformers marks a model read from GGUF as quantised and then refuses to convert or save it, though its weights
    are plain by then. They are therefore moved into a fresh model of the same architecture.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    candidates = sorted(folder.glob("*.gguf"))
    if len(candidates) != 1:
        found = ", ".join(path.name for path in candidates) or "neither"
        raise ResourceError(
            "no language model lies here", where=str(folder), expected=f"config.json or one .gguf file, found {found}"
        )
    source = candidates[0]
    status = source.stat()
    key = hashlib.sha256(f"{source.name}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:12]
    target = folder / f"dequantised-{key}"
    if target.is_dir():
        return target
    progress(f"{source.name}: reading the weights, once", 0, 0)
    temporary = folder / f".dequantised-{key}.{os.getpid()}.tmp"
    try:
        with (
            quiet_transformers(),
            contextlib.redirect_stderr(io.StringIO()),
        ):  # its conversion bar cannot be switched off
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=source.name, local_files_only=True)
            quantised = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=source.name, local_files_only=True, dtype=torch.float32
            )
            settings = quantised.config.to_dict()
            settings.pop("quantization_config", None)
            plain = AutoModelForCausalLM.from_config(type(quantised.config).from_dict(settings), dtype=torch.float32)
            plain.load_state_dict(quantised.state_dict())
            plain.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        (temporary / "source.json").write_text(json.dumps({"file": source.name, "bytes": status.st_size}))
        with contextlib.suppress(OSError):  # another process was quicker: its folder is as good
            temporary.rename(target)
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise ResourceError(f"cannot read the GGUF file: {error}", where=str(source)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
