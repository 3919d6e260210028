"""Where an adapter goes and what it meets there: target layers, wrappers, hooks, shared memory, buffers."""
