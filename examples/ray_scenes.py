"""Restore one large scene by workers of Ray, on this machine or on a cluster.

    pip install -e ".[ray]"
    python examples/ray_scenes.py scene.tif cleared/scene.tif --bands 4 3 2 --workers 2
    RAY_ADDRESS=auto python examples/ray_scenes.py scene.tif cleared/scene.tif --workers 8 --gpus 1

All machines see both files by the same paths; only windows travel. The result has the bytes of
predict.py with the same --tile. Workers that die are started again. A run goes on where it died.
"""

from collections.abc import Iterator

import ray
from ray.util import ActorPool

from cloudkit.script.command_line import parser, run_script
from thiefcloud import SceneStatistics, Window, restore_window
from thiefcloud.inference.scene_options import SceneOptions


class Worker:
    """Process that holds the network and the open scene."""

    def __init__(self, options: SceneOptions) -> None:
        self.model, self.scene = options.load(), options.open()
        self.target = self.scene.__enter__()

    def restore(self, statistics: SceneStatistics, tile: Window) -> None:
        """Restore a tile, and write it beside the others."""
        restored = restore_window(self.model, self.target.source, statistics, tile)
        self.target.write(tile, *restored)
        self.target.finish(tile)


def main(options: SceneOptions) -> None:
    """Let workers restore the tiles of a scene."""
    actor = ray.remote(num_gpus=options.gpus, max_restarts=-1, max_task_retries=3)(Worker)

    def work(statistics: SceneStatistics, tiles: list[Window]) -> Iterator[None]:
        with ray.init():
            shared = ray.put(statistics)
            pool = ActorPool([actor.remote(options) for _ in range(options.workers)])
            yield from pool.map_unordered(lambda one, tile: one.restore.remote(shared, tile), tiles)

    options.restore(work)


if __name__ == "__main__":
    run_script(main, parser(SceneOptions, __doc__))
