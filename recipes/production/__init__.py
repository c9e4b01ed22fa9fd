"""The same answers for production: more processes, faults and hostile clients."""
