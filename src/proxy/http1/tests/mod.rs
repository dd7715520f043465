mod answers;
mod bodies;
mod differential;
mod heads;
mod properties;
mod requests;
mod rewriting;
mod support;
