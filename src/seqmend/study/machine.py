"""What a measurement was made on."""

import os
import platform
from typing import Any

from seqmend.devices import processor


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load and versions, for the foot of a benchmark."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
