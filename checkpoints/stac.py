"""Items of the STAC extension Machine Learning Model (MLM), which catalogues of models read."""

from typing import Any

from thiefcloud.inference.released import Weights

_SCHEMAS = "https://stac-extensions.github.io"
EXTENSIONS = [f"{_SCHEMAS}/mlm/v1.5.0/schema.json", f"{_SCHEMAS}/file/v2.1.0/schema.json"]
_SHA256 = "1220"  # begins a checksum in the form of multihash: kind and length


def stac_item(weights: Weights, *, values: int, day: str) -> dict[str, Any]:
    """Return the item of released weights, for a file beside them.

    Args:
        weights: the weights.
        values: number of all values in the file.
        day: day of the scores, as 2026-01-31.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": EXTENSIONS,
        "id": weights.path.stem,
        "geometry": None,  # for images of any place
        "properties": {
            "title": weights.path.stem,
            "description": weights.description,
            "datetime": f"{day}T00:00:00Z",
            "license": "PolyForm-Noncommercial-1.0.0",
            **_model_properties(weights, values),
        },
        "links": [
            {"rel": "license", "href": "./LICENSE", "type": "text/plain"},
            {"rel": "about", "href": "./README.md", "type": "text/markdown"},
        ],
        "assets": {"model": _asset(weights)},
    }


def _model_properties(weights: Weights, values: int) -> dict[str, Any]:
    """Return how a program uses the network."""
    low, high = weights.input_range
    images = {
        "shape": [-1, len(weights.bands), -1, -1],
        "dim_order": ["batch", "bands", "height", "width"],
        "data_type": "float32",
    }
    return {
        "mlm:name": weights.path.stem,
        "mlm:architecture": "ThiefCloud",
        "mlm:tasks": ["regression"],
        "mlm:framework": "pytorch",
        "mlm:total_parameters": values,
        "mlm:pretrained": True,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [
            {
                "name": "image under thin cloud",
                "bands": list(weights.bands),
                "input": images,
                "value_scaling": [{"type": "clip", "minimum": low, "maximum": high}],
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            {
                "name": "image without thin cloud",
                "tasks": ["regression"],
                "result": images,
                "post_processing_function": {
                    "format": "python",
                    "expression": "thiefcloud.restore",
                },
            }
        ],
    }


def _asset(weights: Weights) -> dict[str, Any]:
    """Return the entry of the file itself."""
    return {
        "href": f"./{weights.file}",
        "title": "weights",
        "type": "application/octet-stream; application=safetensors",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors",
        "bands": [{"name": name} for name in weights.bands],
        "file:size": weights.path.stat().st_size,
        "file:checksum": f"{_SHA256}{weights.sha256}",
    }
