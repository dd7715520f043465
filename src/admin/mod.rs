//! The admin room: JSON API, debug page, metrics, on a listener of its own.
