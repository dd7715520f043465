//! This machine's Docker engine.

use integration_tests::Result;
use integration_tests::docker_api::Api;
pub(crate) use integration_tests::docker_api::encoded;
use serde_json::Value;

pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// Creates something and returns what the engine says of it.
pub(crate) async fn create(path: &str, what: Value) -> Result<Value> {
    Api::new(SOCKET).create(path, what).await
}

/// An action without a body, such as `/containers/ID/start`. One that has been done already is none, and no error.
pub(crate) async fn act(path: &str) -> Result<()> {
    Api::new(SOCKET).act(path).await
}

/// Reads something.
pub(crate) async fn get(path: &str) -> Result<Value> {
    Api::new(SOCKET).get(path).await
}

/// Removes something; what is not there is no error.
pub(crate) async fn remove(path: &str) -> Result<()> {
    Api::new(SOCKET).remove(path).await
}
