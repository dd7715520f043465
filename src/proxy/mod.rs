//! The proxy: listener, pipeline, header rules, forwarding, per-replica pools, answers of our own.
