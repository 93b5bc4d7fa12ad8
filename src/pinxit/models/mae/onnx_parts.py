"""Parts of a masked autoencoder for other programs: reconstruction and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.export_parts import (
    Example,
    ExportPart,
    Value,
    image_value,
    to_image,
    to_pixels,
)
from pinxit.models.mae.model import MaskedAutoencoder
from pinxit.nn.masking import num_visible
from pinxit.nn.pixels import gather_tokens, patchify, unpatchify


class Reconstruct(nn.Module):
    """Predict the patches that are not visible; the others are those of the image."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, visible: Tensor) -> Tensor:
        model = self.model
        patches = patchify(to_pixels(image), model.patch_size)
        numbers = torch.arange(model.num_patches, device=image.device)
        is_visible = (numbers == visible[:, :, None]).any(1)
        # distinct keys: the visible ones first, each in raster order
        order = (numbers + model.num_patches * ~is_visible).argsort(1)
        chosen = order[:, : visible.shape[1]]
        visible_patches = gather_tokens(patches, chosen)
        tokens = model.encode(model.normalize(visible_patches), chosen)
        predicted = model.denormalize(model.decode(tokens, order), visible_patches).clamp(0, 1)
        shown = torch.where(is_visible[..., None], patches.float() / 255, predicted)
        return unpatchify(shown, model.rows, model.patch_size).permute(0, 3, 1, 2)


class Features(nn.Module):
    """An image to a feature vector, and to one for each patch."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(image)
        return features.mean(1), features


def export_parts(model: MaskedAutoencoder) -> tuple[ExportPart, ...]:
    """Return the reconstruction from visible patches, and the encoder's features."""

    def reconstruct_examples(batch: Batch) -> list[Example]:
        """Two numbers of visible patches: that of the training, and all but one."""
        counts = {num_visible(model.num_patches, model.config.mask_ratio), model.num_patches - 1}
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(len(batch), model.num_patches, generator=generator)
        order, image = noise.argsort(1), to_image(batch.pixels)
        return [Example((image, order[:, :count])) for count in sorted(counts, reverse=True)]

    grid = f"{model.rows} x {model.columns} patches of {model.patch_size} x {model.patch_size}"
    reconstruct = ExportPart(
        "reconstruct",
        "the whole image from its visible patches",
        Reconstruct(model),
        (
            image_value(meaning="pixel values from 0 to 1; those of other patches have no effect"),
            Value(
                "visible",
                "batch visible",
                f"numbers of the visible patches, each once; {grid} in raster order, from 0",
                "codes",
            ),
        ),
        (image_value("completed"),),
        reconstruct_examples,
    )
    encoder = ExportPart(
        "encoder",
        "the features of a whole image",
        Features(model),
        (image_value(),),
        (
            Value("features", "batch width", "mean over the patches"),
            Value("patch_features", "batch patch width", "of each patch, in raster order"),
        ),
        lambda batch: [Example((to_image(batch.pixels),))],
    )
    return reconstruct, encoder
