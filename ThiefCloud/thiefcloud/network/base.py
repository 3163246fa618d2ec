"""Base class of all networks that remove cloud: everything that scripts and files ask of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn

from cloudkit.errors import UserError
from scpm import PRIOR_WIDTH, SCPM, Prior, check_input
from thiefcloud.network.inversion import Inversion
from thiefcloud.network.overlay import Overlay, Uncovered, uncover


class Restoration(NamedTuple):
    """Outputs of a network, all at full resolution and raw, so not clamped."""

    restored: Tensor
    """(N, C, H, W): the image without cloud, from level 1."""
    half: Tensor | None
    """(N, C, H, W): the same from level 2; only for supervision."""
    quarter: Tensor | None
    """(N, C, H, W): the same from level 3; only for supervision."""
    thickness: Tensor
    """(N, 1, H, W): the prior's thickness map, with the overlay: 0 clear, 1 opaque."""
    inverted: Tensor | None = None
    """(N, C, H, W): what the inversion leaves, if there is one; only for supervision."""


class NoPrior(nn.Module):
    """Placeholder for SCPM that knows nothing of the cloud: it shows what a prior is worth.

    Shape: images (N, in_channels, H, W) to a `Prior` of zeros.
    """

    config = None  # its entry in the config of a network

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels

    def forward(self, images: Tensor) -> Prior:
        """Return zeros in the shapes of SCPM's outputs."""
        n, _, height, width = images.shape
        return Prior(
            thickness=images.new_zeros(n, 1, height, width),
            full=images.new_zeros(n, PRIOR_WIDTH, height, width),
            half=images.new_zeros(n, PRIOR_WIDTH, height // 2, width // 2),
            quarter=images.new_zeros(n, PRIOR_WIDTH, height // 4, width // 4),
        )


class Restorer(nn.Module, ABC):
    """Anything that restores images in `thiefcloud.restore`: a network, or an exported one.

    Its parameters tell the device and the dtype of the images that it takes.
    """

    in_channels: int
    """Bands of input and output."""

    @property
    @abstractmethod
    def reads_statistics(self) -> bool:
        """True if statistics of the whole image change what it restores."""

    @property
    @abstractmethod
    def sees_thickness(self) -> bool:
        """True if it returns thickness, False if it returns zeros in its place."""

    @abstractmethod
    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        """Restore cloudy images.

        Args:
            cloudy: (N, in_channels, H, W) in [0, 1].
            supervision: return the outputs of levels 2 and 3 too, which only the loss needs.
                Default: while training.
            statistics: (N, rows, 9), for overlay and inversion: `image_statistics` of the whole
                scene if the images are parts of one.

        Raises:
            ValueError: H or W is no multiple of 8.
        """


class RemovalNetwork(Restorer):
    """Network that removes cloud from images.

    A subclass names its `kind`, sets `prior` (`NoPrior` if none guides it) and `inversion` (None if
    it has none) in `__init__`, and defines `remove`. One that a prior guides sets `takes_prior`,
    and takes the prior in `from_config`. `require_contract` checks this.

    Args:
        in_channels: bands of input and output.
        residual: learn what to add to the image instead of the clear image itself.
        inversion: solve the scattering model first (`Inversion`); needs `residual`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`. H and W must be
    multiples of 8; `restore` takes any size.

    Raises:
        ValueError: an inversion without `residual`.
    """

    kind: ClassVar[str]  # name in checkpoints and on the command line
    takes_prior: ClassVar[bool] = False
    prior: SCPM | NoPrior
    inversion: Inversion | None
    overlay: Overlay | None

    def __init_subclass__(cls) -> None:
        """Require a `kind`, by which files and options name the network."""
        super().__init_subclass__()
        if not isinstance(getattr(cls, "kind", None), str):
            raise TypeError(
                f'{cls.__name__} has no kind; give it one, such as kind = "my-network".'
            )

    def __init__(self, in_channels: int, *, residual: bool, inversion: bool) -> None:
        if inversion and not residual:
            raise ValueError(
                "inversion = True needs residual = True: the network adds to the inverted image."
            )
        super().__init__()

        self.in_channels = in_channels
        self.residual = residual
        self.prior_frozen = False
        self.overlay = None
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "residual": residual,
            "inversion": inversion,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prior: SCPM | NoPrior | None = None) -> Self:
        """Build a network.

        Args:
            config: the `config` of such a network.
            prior: an existing prior, for a network that takes one. Default: built from `config`.
        """
        return cls(config["in_channels"], **switches_of(config))

    @property
    def reads_statistics(self) -> bool:
        """True if it has an overlay or an inversion."""
        return self.overlay is not None or self.inversion is not None

    @property
    def sees_thickness(self) -> bool:
        """True if its prior is SCPM."""
        return isinstance(self.prior, SCPM)

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        """Restore cloudy images; see `Restorer`."""
        check_input(cloudy, self.in_channels)
        uncovered = uncover(self.overlay, cloudy, statistics)
        prior = self.prior(uncovered.images)
        image = self.invert(uncovered, prior)
        result = self.remove(image, prior, self.training if supervision is None else supervision)
        if self.overlay is None:
            return result
        return result._replace(thickness=uncovered.with_overlay(result.thickness))

    @abstractmethod
    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        """Remove what cloud the inversion has left.

        Args:
            image: (N, in_channels, H, W), the result of `invert`.
            prior: outputs of the prior for the images that were inverted.
            supervision: as in `forward`.
        """

    def gated_parts(self, image: Tensor, prior: Prior) -> Iterator[tuple[nn.Module, Tensor]]:
        """Yield the parts of `remove` that see statistics of the whole image, with their inputs.

        Args:
            image: as in `remove`.
            prior: the same.
        """
        yield from ()

    def invert(self, uncovered: Uncovered, prior: Prior) -> Tensor:
        """Return the inverted images, or those given to a network without inversion.

        Values beyond [-0.5, 1.5] are mistakes, so the network does not see them.
        """
        if self.inversion is None:
            return uncovered.images
        inverted: Tensor = self.inversion(uncovered.images, prior, uncovered.statistics)
        return uncovered.followed(inverted.clamp(-0.5, 1.5))

    def add_overlay(self) -> Overlay:
        """Give the network an overlay, which says 0 until it is fitted, and return it."""
        self.overlay = Overlay(self.in_channels)
        self.config["overlay"] = True
        return self.overlay

    def freeze_prior(self) -> Self:
        """Stop the training of the prior: no gradients, and BatchNorm keeps its statistics."""
        self.prior_frozen = True
        self.prior.requires_grad_(False).eval()
        return self

    def tune_prior(self, *, head: bool = False) -> Self:
        """Let the prior learn from the removal.

        Args:
            head: let its thickness head learn too. Without a term of the loss for the thickness
                it would lose its meaning.
        """
        self.prior_frozen = False
        self.prior.requires_grad_(True)
        self.train(self.training)
        if isinstance(self.prior, SCPM):
            self.prior.head.requires_grad_(head)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training or eval mode.

        The prior stays in eval mode while it is frozen, and always before an inversion. Statistics
        of small batches would change its thickness maps at each step, and with them all gains.
        """
        super().train(mode)
        if self.prior_frozen or self.inversion is not None:
            self.prior.eval()
        return self


def require_contract(model: RemovalNetwork) -> RemovalNetwork:
    """Return a network that was built, if it has the parts that scripts and files ask for.

    Raises:
        UserError: it lacks one; the message says what its class must set.
    """
    for part, remedy in (
        ("prior", "NoPrior(in_channels) if no prior guides it"),
        ("inversion", "Inversion(in_channels) if `inversion` is true, else None"),
    ):
        if not hasattr(model, part):
            raise UserError(
                f"the network {model.kind} has no `{part}`, expected one; set self.{part} in its "
                f"__init__: {remedy}."
            )
    return model


def switches_of(config: Mapping[str, Any]) -> dict[str, bool]:
    """Return the switches that all networks share. Older configs lack some."""
    switches = {}
    for name in ("residual", "inversion"):
        if name in config:
            switches[name] = config[name]
    return switches
