"""Description of the machine that a benchmark runs on."""

import datetime
import os
import platform
import re
from pathlib import Path
from typing import Any

from webtext_gpt.machine import cores

INSTRUCTIONS = {  # torch's name of a capability, and the usual one
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16",
    "amx_int8": "AMX-INT8",
    "bf16": "bf16",  # Arm's
}


def machine() -> dict[str, Any]:
    """Return the facts that two runs share: processor, cores, memory, GPU and versions."""
    import torch  # here, since the page is made without it

    found = torch.cpu.get_capabilities()
    return {
        "cpu": _processor(),
        "instructions": [name for key, name in INSTRUCTIONS.items() if found.get(key)],
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def moment() -> dict[str, Any]:
    """Return the facts of this moment: the date, and the mean load of the last minute."""
    load = round(os.getloadavg()[0], 1)
    return {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "load": load}


def file_name(described: dict[str, Any]) -> str:
    """Return the name of a machine's file of results, without its ending."""
    parts = (described["cpu"], f"{described['cores']} cores", described["gpu"] or "")
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def sentence(described: dict[str, Any]) -> str:
    """Return a machine in one line of a page."""
    kinds = ", ".join(described["instructions"]) or "no vector instructions that torch names"
    graphics = f"; {described['gpu']}" if described["gpu"] else "; no GPU"
    return (
        f"{described['cores']} cores of {described['cpu']} ({kinds}), {described['threads']} "
        f"threads, {described['memory_gib']} GiB{graphics}; torch {described['torch']}, "
        f"Python {described['python']}, {described['system']}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*: (.*)$", text, flags=re.M)
    return named[1] if named else platform.processor() or platform.machine()
