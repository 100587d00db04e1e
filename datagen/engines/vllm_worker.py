"""What vLLM's own workers lack on a CPU; vLLM imports this in each of them, by its name.

A process has to ask the kernel before it may use AMX, a processor's matrix unit. vLLM's attention uses it without
asking; oneDNN asks, but not before it multiplies large enough matrices. So a worker whose first prompts were short was
killed by SIGILL (seen in vLLM 0.32.0).
"""

from __future__ import annotations

import torch

torch.cpu._init_amx()  # False, and no harm, where there is none


class Nothing:
    """vLLM wants a class that it can add to its worker's."""
