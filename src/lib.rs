//! evenkeel: a Docker-aware service-discovery sidecar and HTTP load balancer.

pub mod admin;
pub mod app;
pub mod balancer;
pub mod change;
pub mod config;
pub mod discovery;
pub mod health;
pub mod metrics;
pub mod proxy;
pub mod registry;
pub mod replica;
pub mod service;
pub mod telemetry;

#[cfg(test)]
mod walls;
