//! Configuration: flags > environment `EVENKEEL_*` > file > default. The only room that reads the environment.

pub mod settings;
