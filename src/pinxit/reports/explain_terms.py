"""The terms of an explanation: each with its formula and the paper that it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A term, its formula as text, and its source."""

    name: str
    formula: str
    meaning: str
    paper: str
    url: str


TERMS = (
    Term(
        "ELBO", "log p(x) ≥ E_q [log p(x|z)] − KL(q(z|x) ‖ p(z))",
        "the bound that a VAE is trained to raise: minus distortion, minus rate",
        "Kingma & Welling 2013, eq. 3", "https://arxiv.org/abs/1312.6114",
    ),
    Term(
        "distortion, rate", "D = −E_q log p(x|z),  R = KL(q(z|x) ‖ p(z))",
        "what z leaves open, and what z costs, in nats per image; with β the loss is D + βR",
        "Alemi 2018", "https://arxiv.org/abs/1711.00464",
    ),
    Term(
        "conditional mean", "E[x|z] = Σ_j w_j x_j,  w_j = q(z|x_j) / Σ_k q(z|x_k)",
        "the answer with the least expected squared error: what a perfect decoder gives at z; "
        "exp of the entropy of w is the effective number of images",
        "Bishop 2006, sec. 1.5.5",
        "https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/",
    ),
    Term(
        "σ of the decoder", "−log N(x; f(z), σ²) = |x − f(z)|² / 2σ² + d log σ + c",
        "the best single σ² is the mean squared error; a fixed σ and β are one knob: σ with β "
        "trains the same network as σ = 1 with βσ²",
        "Rybkin 2020", "https://arxiv.org/abs/2006.13202",
    ),
    Term(
        "spectrum", "S(k) = E |DCT(x)_k|², mean over rings of spatial frequency",
        "how much detail of each size there is; a mean of images has less at high frequencies",
        "van der Schaaf & van Hateren 1996", "https://doi.org/10.1016/0042-6989(96)00002-8",
    ),
    Term(
        "active unit", "Var_x(E[z_k|x]) > 0.01",
        "a latent that depends on the image; the others have collapsed to the prior",
        "Burda 2015, sec. 5", "https://arxiv.org/abs/1509.00519",
    ),
    Term(
        "ELBO surgery", "E_x R = I(x; z) + KL(q(z) ‖ p(z)),  q(z) = E_x q(z|x)",
        "information about the image, and how far the prior is from the latents of all images",
        "Hoffman & Johnson 2016",
        "https://approximateinference.org/2016/accepted/HoffmanJohnson2016.pdf",
    ),
    Term(
        "total correlation", "KL(q(z) ‖ Π_k q(z_k))",
        "how much the latents depend on one another; with the dimension-wise KL, "
        "Σ_k KL(q(z_k) ‖ p(z_k)), it is KL(q(z) ‖ p(z))",
        "Chen 2018, eq. 2", "https://arxiv.org/abs/1802.04942",
    ),
    Term(
        "ex-post density", "z ~ r(z), a Gaussian mixture fitted to z ~ q(z|x)",
        "a prior fitted after training; E_q [log r(z) − log p(z)] ≤ KL(q(z) ‖ p(z))",
        "Ghosh 2019, sec. 4", "https://arxiv.org/abs/1903.12436",
    ),
    Term(
        "RealNVP flow", "z = f(u), u ~ N(0, I), f of affine couplings",
        "an invertible network: a density that can be sampled and evaluated",
        "Dinh 2016", "https://arxiv.org/abs/1605.08803",
    ),
    Term(
        "Fréchet distance", "|m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)",
        "between Gaussians fitted to features of two sets of images; here of a small network "
        "trained on this data, so that it compares with no FID",
        "Heusel 2017, eq. 6", "https://arxiv.org/abs/1706.08500",
    ),
)  # fmt: skip
