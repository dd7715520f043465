//! Health: probes replicas; the only writer of health.
