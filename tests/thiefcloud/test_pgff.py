import torch

from thiefcloud.pgff import PGFF


def test_formula() -> None:
    pgff, shallow, fused = PGFF(4), torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    hidden = pgff.shared[0](fused).clamp(min=0)
    torch.testing.assert_close(pgff(shallow, fused), shallow + shallow * pgff.gamma(hidden) + pgff.beta(hidden))


def test_inverts_the_scattering_model() -> None:
    clear, transmission, airlight = torch.rand(1, 4, 5, 6), 0.4, 0.9
    pgff = PGFF(4)
    for layer, value in ((pgff.gamma, 1 / transmission - 1), (pgff.beta, airlight * (1 - 1 / transmission))):
        layer.load_state_dict({"weight": torch.zeros(4, 4, 3, 3), "bias": torch.full((4,), value)})
    cloudy = clear * transmission + airlight * (1 - transmission)
    torch.testing.assert_close(pgff(cloudy, torch.rand(1, 4, 5, 6)), clear)
