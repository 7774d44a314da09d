"""How networks are made, and what their parts do: lesions of trained ones, the gradients of their layers."""
