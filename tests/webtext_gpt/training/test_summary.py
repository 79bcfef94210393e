"""The compressors' figures, compared with the programs themselves."""

import shutil
import subprocess

import pytest

from webtext_gpt.training.summary import compressed_bits_per_byte


@pytest.mark.parametrize("program", ["gzip", "xz"])
def test_figures_equal_the_programs(program: str, prose: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    texts = prose.split(". ")
    data = "\n".join(texts).encode()
    size = len(
        subprocess.run([program, "-9", "-c"], input=data, capture_output=True, check=True).stdout
    )
    figure = compressed_bits_per_byte(texts)[f"{program}_bits_per_byte"]
    assert figure == pytest.approx(8 * size / len(data), rel=1e-3)


def test_no_text_has_no_figure() -> None:
    assert compressed_bits_per_byte([]) == {}
