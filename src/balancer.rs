//! The balancer: picks a replica for a request.
