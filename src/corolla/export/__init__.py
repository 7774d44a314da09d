"""Trained networks for other programs: ONNX, timm, Hugging Face's hub; call it as `corolla.export(...)`."""

from corolla.stage import make_callable

make_callable(__name__)
