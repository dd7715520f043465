//! The Swarm provider: `manager` asks a manager, `wire` reads its answers, `tracker` decides what they and the events
//! come to, `evaluate` judges one task, `pace` says whom to ask again and when, and [`Watcher`] drives it all.

mod evaluate;
#[cfg(test)]
mod fixtures;
mod manager;
mod model;
mod pace;
mod rest;
mod tracker;
mod watcher;
mod wire;

pub use watcher::Watcher;
