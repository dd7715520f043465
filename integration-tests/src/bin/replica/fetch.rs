//! The client side: what `healthcheck` and `get` do, for images that have no curl.

use std::io;

use hyper::Uri;
use integration_tests::client::{Client, Response};
use tokio::net::lookup_host;

/// Succeeds if the replica on this port says that it is ready.
pub(crate) async fn healthcheck(port: u16) -> io::Result<()> {
    let answer = get(&format!("http://127.0.0.1:{port}/ready")).await?;
    if is_success(&answer) { Ok(()) } else { Err(io::Error::other(answer.text())) }
}

/// Gets and prints every URL; fails if an answer was not 2xx.
pub(crate) async fn get_all(urls: &[String]) -> io::Result<()> {
    let mut failed = 0;
    for url in urls {
        match get(url).await {
            Ok(answer) => {
                let served_by = answer.header("x-served-by").unwrap_or("-");
                println!("{url} {} {served_by}\n{}", answer.status, answer.text().trim_end());
                failed += usize::from(!is_success(&answer));
            }
            Err(error) => {
                println!("{url} failed: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} of {} failed", urls.len()))) }
}

/// Gets an `http://` URL, whose name the container's resolver knows.
pub(crate) async fn get(url: &str) -> io::Result<Response> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| io::Error::other("an http:// URL is needed"))?;
    let mut addrs = lookup_host((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let addr = addrs.next().ok_or_else(|| io::Error::other(format!("{authority} has no address")))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let headers = [("Host", authority.as_str()), ("Connection", "close")];
    Client::connect(addr).await?.request("GET", path, &headers, b"").await
}

fn is_success(answer: &Response) -> bool {
    (200..300).contains(&answer.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_http_urls_are_taken() {
        for url in ["https://127.0.0.1/", "/ready", "not a url"] {
            assert!(get(url).await.is_err(), "{url}");
        }
        assert_eq!(get_all(&["ftp://a/".into(), "/b".into()]).await.unwrap_err().to_string(), "2 of 2 failed");
    }
}
