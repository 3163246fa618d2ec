"""Restore a mosaic by workers of Dask: a Zarr array (3, rows, columns) of integers; 0 is no data.

python examples/dask_mosaic.py --mosaic mosaic.zarr --out restored.zarr --workers 2
DASK_SCHEDULER_ADDRESS=tcp://HOST:8786 python examples/dask_mosaic.py --mosaic A --out B
"""

from pathlib import Path

import dask.array as da
import numpy as np
import tyro
from dask.array.overlap import ensure_minimum_chunksize as at_least
from distributed import Client

from cloudkit.script.checks import require_positive
from cloudkit.script.command_line import run_script
from thiefcloud import IntegerSource, Window, measure_scene, reach_of, restore_window
from thiefcloud.inference.weights import load_once


def restore(mosaic: da.Array, peak: float, checkpoint: str, tile: int) -> da.Array:
    """Measure a mosaic, and return it restored, to be computed."""
    statistics = measure_scene(load_once(checkpoint), IntegerSource(mosaic, peak))
    depth = [min(reach_of(statistics), side) for side in mosaic.shape[1:]]
    rows, columns = map(at_least, depth, mosaic.rechunk((-1, tile, tile)).chunks[1:])
    tiles = mosaic.rechunk((-1, rows, columns))

    def restore_tile(part: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        _, row, column = block_id
        window = Window(sum(rows[:row]), sum(columns[:column]), rows[row], columns[column])
        near = window.grown(reach_of(statistics), 1, statistics.size)
        source = IntegerSource(part, peak, at=near[:2], size=statistics.size)
        restored, _ = restore_window(load_once(checkpoint), source, statistics, window)
        return source.stored(window, restored)

    same = {"dtype": mosaic.dtype, "chunks": tiles.chunks}
    return tiles.map_overlap(restore_tile, (0, *depth), "none", trim=False, **same)


def main(
    mosaic: Path,
    out: Path,
    peak: float = 10000,
    checkpoint: str = "general",
    tile: int = 512,
    workers: int = 2,
) -> None:
    """Restore a mosaic."""
    require_positive(tile=tile, workers=workers)
    if out.exists():
        raise FileExistsError(f"{out} exists already; remove it, or name another --out.")
    unfinished = out.with_name(f".{out.name}.unfinished")
    with Client(n_workers=workers, threads_per_worker=1):
        restored = restore(da.from_zarr(mosaic), peak, checkpoint, tile)
        restored.rechunk((-1, tile, tile)).to_zarr(unfinished, overwrite=True)
    unfinished.rename(out)


if __name__ == "__main__":
    run_script(lambda _: tyro.cli(main), lambda arguments: arguments)
