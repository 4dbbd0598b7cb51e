"""UPerNet (Xiao et al. 2018) on ResNet-50, of transformers; auxiliary head on stage 3."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import UperNetConfig, UperNetForSemanticSegmentation

from benchmarks.quality.downstream.segmenters import resnet
from benchmarks.quality.downstream.segmenters.layers import resize


class UPerNet(nn.Module):
    """64.02 M parameters without the auxiliary head.

    The paper's 64.042 M are MMSegmentation's, whose ResNet-50 begins with three 3x3 convolutions in place of one
    of 7x7 (+19,232). Weights are random unless a file is loaded (`resnet.load_backbones`); the paper's began with
    ImageNet's.
    """

    auxiliary_weight = 0.4

    def __init__(self) -> None:
        super().__init__()
        backbone = resnet.config("bottleneck", (256, 512, 1024, 2048), (3, 4, 6, 3))
        config = UperNetConfig(backbone_config=backbone, hidden_size=512, auxiliary_in_channels=1024, num_labels=2)
        self.parts = UperNetForSemanticSegmentation(config)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (n, 3, H, W), sides multiples of 32 -> logits (n, 2, H, W) of one head, of two in training."""
        features = self.parts.backbone(images).feature_maps
        logits = [self.parts.decode_head(features)]
        if self.training:
            logits.append(self.parts.auxiliary_head(features))
        return tuple(resize(x, images) for x in logits)
