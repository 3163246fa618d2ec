import torch

from thiefcloud.network.pgff import PGFF


def test_formula() -> None:
    pgff, shallow, fused = PGFF(4), torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    hidden = pgff.shared[0](fused).clamp(min=0)
    expected = shallow + shallow * pgff.gamma(hidden) + pgff.beta(hidden)
    torch.testing.assert_close(pgff(shallow, fused), expected)


def test_inverts_the_scattering_model() -> None:
    clear, transmission, air_light = torch.rand(1, 4, 5, 6), 0.4, 0.9
    cloudy = clear * transmission + air_light * (1 - transmission)

    pgff = PGFF(4)
    for layer, value in (
        (pgff.gamma, 1 / transmission - 1),
        (pgff.beta, air_light * (1 - 1 / transmission)),
    ):
        torch.nn.init.zeros_(layer.weight)
        assert layer.bias is not None
        torch.nn.init.constant_(layer.bias, value)

    torch.testing.assert_close(pgff(cloudy, torch.rand(1, 4, 5, 6)), clear)
