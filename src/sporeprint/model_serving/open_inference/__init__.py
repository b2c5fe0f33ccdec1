"""The Open Inference Protocol v2 over HTTP, as KServe, Triton's clients and MLServer speak it."""
