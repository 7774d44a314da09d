"""Faults of real cards, word for word, for tests that raise them where there is no card.

Each has its source: an issue of the program that met it, or torch's own library, whose text it is.
"""

from typing import NamedTuple

import torch

ASYNCHRONOUS = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


class CardFault(NamedTuple):
    """A fault: how torch raises it, in which words, and what it is."""

    kind: str
    """OutOfMemoryError, RuntimeError or AcceleratorError (which torch before 2.8 does not have)."""
    text: str
    fault: str
    """The kind that corolla.device_errors is to find."""

    def raised(self) -> RuntimeError:
        """Return the exception."""
        return getattr(torch, self.kind, RuntimeError)(self.text)


OUT_OF_MEMORY = CardFault(
    # murong-xu/CADS#4
    "OutOfMemoryError",
    "CUDA out of memory. Tried to allocate 22.78 GiB. GPU 0 has a total capacity of 31.47 GiB of which 12.73 GiB is "
    "free. Including non-PyTorch memory, this process has 18.73 GiB memory in use. Of the allocated memory 9.08 GiB is "
    "allocated by PyTorch, and 9.35 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is "
    "large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for "
    "Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)",
    "memory",
)
CUBLAS_ALLOC = CardFault(
    # QwenLM/Qwen3#873: "enough memory on the card" solved it
    "RuntimeError",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "memory",
)
ILLEGAL_ACCESS = CardFault(
    # THUDM/slime#1297
    "AcceleratorError",
    "CUDA error: an illegal memory access was encountered\nSearch for `cudaErrorIllegalAddress' in "
    "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
    "device",
)
CUDNN_INTERNAL = CardFault(
    # pytorch/pytorch#45769; #81620: "happens when cudnn tries to dynamically load the kernels ... runs out of memory"
    "RuntimeError",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "maybe memory",
)
NO_KERNELS = CardFault(
    # vllm-project/vllm#3785, on a Tesla P100
    "RuntimeError",
    "CUDA error: no kernel image is available for execution on the device\n" + ASYNCHRONOUS,
    "device",
)

FAULTS = (
    OUT_OF_MEMORY,
    CUBLAS_ALLOC,
    ILLEGAL_ACCESS,
    CUDNN_INTERNAL,
    NO_KERNELS,
    CardFault(
        # carolchenyx/MGFN.#35: older versions write "capacty"
        "OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 1.70 GiB. GPU 0 has a total capacty of 6.00 GiB of which 0 bytes is "
        "free. Of the allocated memory 2.93 GiB is allocated by PyTorch, and 2.30 GiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting max_split_size_mb to avoid "
        "fragmentation.  See documentation for Memory Management and PYTORCH_CUDA_ALLOC_CONF",
        "memory",
    ),
    CardFault(
        # libc10_cuda.so of torch 2.14, under torch.cuda.set_per_process_memory_fraction
        "OutOfMemoryError",
        "CUDA out of memory. Allocation was preemptively rejected because it would exceed per_process_memory_fraction "
        "limit. Requested size: 2.00 GiB",
        "memory",
    ),
    CardFault("AcceleratorError", "CUDA error: out of memory\n" + ASYNCHRONOUS, "memory"),  # deepbeepmeep/Wan2GP#1083
    CardFault("RuntimeError", "CUDA error: out of memory\n" + ASYNCHRONOUS, "memory"),  # taohan10200/IIM#28
    CardFault("RuntimeError", "CUDA driver error: out of memory", "memory"),  # deepmodeling/deepmd-kit#3857
    CardFault("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "memory"),  # KupynOrest/DeblurGAN#128
    CardFault(
        # torch 2.14 on this project's CPUs, of torch.empty(2**50)
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)\n",
        "memory",
    ),
    # Comfy-Org/ComfyUI#11723; haotian-liu/LLaVA#392: "merely an OOM issue"
    CardFault("RuntimeError", "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "maybe memory"),
    CardFault(
        # pytorch/serve#1993: "typically happens if you're running out of GPU memory"
        "RuntimeError",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "maybe memory",
    ),
    # rwth-i6/returnn#1508; Nerogar/OneTrainer#274: "GPU memory is probably getting full"
    CardFault("RuntimeError", "GET was unable to find an engine to execute this computation", "maybe memory"),
    # facebookresearch/vggt#183
    CardFault("RuntimeError", "FIND was unable to find an engine to execute this computation", "maybe memory"),
    # marqo-ai/marqo#101: "due to OOM with the GPU"
    CardFault("RuntimeError", "Unable to find a valid cuDNN algorithm to run convolution", "maybe memory"),
    CardFault(
        # mberr/torch-max-mem#45, on an RTX 2070 whose memory was full, as the next one
        "RuntimeError",
        '!handles_.at(i) INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":430, please report a '
        "bug to PyTorch. ",
        "maybe memory",
    ),
    CardFault("RuntimeError", "CUDA driver error: device not ready", "maybe memory"),
    # modelscope/ms-swift#3267
    CardFault("RuntimeError", "CUDA error: device-side assert triggered\n" + ASYNCHRONOUS, "device"),
    CardFault("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "device"),  # askforalfred/alfred#23
    CardFault("RuntimeError", "CUDA driver error: unknown error", "device"),  # libtorch_cuda.so of torch 2.14
)
