"""A checkpoint in forms that other programs run, each run once and compared before it is written.

ONNX, for use without torch: one case, the views it was trained with. Inputs are those of `Batch` (`images`,
`projections`, `depths`), the output its scores, `logits`. The card of the checkpoint goes along as NAME.onnx.json,
because the scores alone do not say which bone is which. Bundles and hub folders are in `export_folders.py`.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from boneray.core.errors import ConfigError, InputError
from boneray.io.files import require_new_file, write_atomic, write_json
from boneray.models.batch import Batch
from boneray.models.card import ONNX_SCHEMA, card_file, find_checkpoint, read_card_file
from boneray.models.checkpoint import load_checkpoint
from boneray.models.cost import sample_batch
from boneray.models.registry import MODELS

INPUTS = ("images", "projections", "depths")
TOLERANCE = 1e-4
LARGE = 1024  # numbers; smaller tensors are not worth a cast


class Plain(nn.Module):
    """Tensors in, scores out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, projections: Tensor, depths: Tensor) -> Tensor:
        return self.network(Batch(images, projections, depths)).output


def export_onnx(checkpoint: str | Path, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write `out` (.onnx) and its JSON (.onnx.json); returns what the JSON says.

    Weights that 16 bits hold exactly are stored so. The file is run once and compared with the network before anything
    is written.

    Raises:
        InputError: `out` is no .onnx file, or exists and `force` is not given.
        ConfigError: the packages of the extra `export` are missing, or the exporter cannot
            express the network.
    """
    if out.suffix != ".onnx":
        raise InputError(f"output {out} must end in .onnx")
    require_new_file(out, force=force)
    network, card = load_checkpoint(checkpoint)
    batch = sample_batch(card.task)
    raw = with_half_weights(to_onnx(network, batch))
    difference = parity(raw, network, batch)
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"the exported {card.model} differs by {difference:.1e} from the checkpoint; it is not written"
        )
    write_atomic(out, lambda file: file.write_bytes(raw))
    facts = {
        "schema": ONNX_SCHEMA,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "made_of": read_card_file(card_file(find_checkpoint(checkpoint)))[1],
        "inputs": {name: list(getattr(batch, name).shape) for name in INPUTS},
        "output": "logits",
        "kind": MODELS.get(card.model).value.learns,
        "difference": difference,
        **vars(card),
    }
    write_json(card_file(out), facts)
    return facts


def to_onnx(network: nn.Module, batch: Batch) -> bytes:
    """The network as an ONNX file for batches of this shape."""
    _require("onnxscript")
    given = tuple(getattr(batch, name) for name in INPUTS)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter speaks of its own insides
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Plain(network).eval(),
                given,
                dynamo=True,
                optimize=False,  # the runtime does that, and weights stay what they are in the checkpoint
                verbose=False,
                input_names=INPUTS,
                output_names=["logits"],
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, NotImplementedError) as error:
        raise ConfigError(f"this network cannot be exported: {str(error).splitlines()[0]}") from None
    finally:
        logging.disable(level)
    return _tidied(program.model_proto)


def _tidied(model: Any) -> bytes:
    """The file without what the exporter says of our source code, and without biases that the network does not have.

    For a convolution without bias the exporter computes one of zeros, of a length that ONNX Runtime refuses.
    """
    for node in model.graph.node:
        del node.metadata_props[:]
        if node.op_type == "Conv" and len(node.input) == 3 and _is_zeros(model.graph, node.input[2]):
            del node.input[2]
    del model.graph.value_info[:]
    del model.metadata_props[:]
    return bytes(model.SerializeToString())


def _is_zeros(graph: Any, name: str) -> bool:
    """Whether a value is a constant zero, filled up to a shape or cast to a type."""
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return not np.any(numpy_helper.to_array(tensor))
    maker = next((node for node in graph.node if name in node.output), None)
    if maker is None:
        return False
    if maker.op_type in ("Expand", "Cast", "CastLike", "Identity"):
        return _is_zeros(graph, maker.input[0])
    if maker.op_type == "Constant":
        (value,) = maker.attribute
        return value.f == 0.0 if value.name == "value_float" else not np.any(numpy_helper.to_array(value.t))
    return False


def with_half_weights(raw: bytes) -> bytes:
    """The file with its large 32-bit weights stored in 16 bits, and a cast back that is done once, when it is loaded.

    Weights that 16 bits would change are kept whole.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(raw)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        small = values.astype(np.float16)
        if values.size < LARGE or not np.array_equal(small.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(small, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def parity(raw: bytes, network: nn.Module, batch: Batch) -> float:
    """Largest difference of a score between the ONNX file, run by ONNX Runtime, and the network."""
    scores = run_onnx(raw, {name: getattr(batch, name).numpy() for name in INPUTS})
    with torch.inference_mode():
        return float(np.abs(scores - network.eval()(batch).output.numpy()).max())


def run_onnx(raw: bytes, inputs: dict[str, Any]) -> Any:
    """The scores that an ONNX file gives."""
    loaded = session(raw)
    return loaded.run(None, {one.name: inputs[one.name] for one in loaded.get_inputs()})[0]


def session(raw: bytes) -> Any:
    """The file loaded into ONNX Runtime, with as many threads as torch has."""
    _require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


def _require(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ConfigError(f"exporting needs {package}; install it with: pip install 'boneray[export]'")
