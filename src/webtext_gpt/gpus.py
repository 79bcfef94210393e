"""GPUs by name: their speed, and that of the links between them.

Peaks are those of dense products in bf16, from the vendors' data sheets. A link's speed is that of
one direction, half of what data sheets state: NVLink where the GPU has it in its usual machine,
else PCI Express with 16 lanes. Networks are those of NVIDIA's DGX A100 and DGX H100, which have a
port of 200 and of 400 Gbit/s for each GPU; of other GPUs, 100 Gbit/s is assumed.
"""

import re
from dataclasses import dataclass

_PCIE_4, _PCIE_5 = 32e9, 64e9


@dataclass(frozen=True)
class GPU:
    """A kind of GPU.

    Attributes:
        peak: FLOP/s.
        link: Bytes/s that it sends to another GPU of its machine.
        network: Bytes/s that it sends to another machine.
        utilization: Share of the peak that training is assumed to reach (MFU).
        source: Where that share is published.
    """

    peak: float
    link: float
    network: float = 12.5e9
    utilization: float = 0.4
    source: str = "no publication"


_LLAMA = "Llama 3 2024, table 4: 38 to 43 % on H100s"
_MEGATRON = "Korthikanti et al. 2022, table 5: 41.5 to 56.3 % on A100s"

GPUS = {  # a longer name comes before its prefix
    "H100 PCIe": GPU(756e12, _PCIE_5),
    "H200": GPU(989e12, 450e9, 50e9, 0.4, _LLAMA),
    "H100": GPU(989e12, 450e9, 50e9, 0.4, _LLAMA),
    "A100": GPU(312e12, 300e9, 25e9, 0.5, _MEGATRON),
    "L40S": GPU(362e12, _PCIE_4),
    "L4": GPU(121e12, _PCIE_4),
    "A10G": GPU(70e12, _PCIE_4),
    "RTX 4090": GPU(165e12, _PCIE_4),
    "RTX 3090": GPU(71e12, _PCIE_4),
}

NAMES = ("H100", "H200", "A100")
"""Names that messages list."""
LESS_COMMON = tuple(name.replace(" ", "-") for name in GPUS if name not in NAMES)
"""Further names, without spaces."""


def named_gpu(name: str) -> GPU:
    """Return a GPU of `NAMES` or `LESS_COMMON`."""
    return GPUS[name.replace("-", " ")]


def known_gpu(device_name: str) -> GPU | None:
    """Return the GPU that a driver's name of a device means, such as `NVIDIA H100 80GB HBM3`."""
    found = (gpu for name, gpu in GPUS.items() if re.search(rf"\b{name}\b", device_name))
    return next(found, None)
