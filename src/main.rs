//! The program: reads the settings and runs the app.

fn main() {}
