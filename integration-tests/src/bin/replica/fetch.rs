//! The client side: what `healthcheck` and `get` do, for images that have no curl.

use std::io;

use integration_tests::http::{Answer, get};

/// Succeeds if the replica on this port says that it is ready.
pub(crate) async fn healthcheck(port: u16) -> io::Result<()> {
    let answer = get(&format!("http://127.0.0.1:{port}/ready")).await?;
    if answer.is_success() { Ok(()) } else { Err(io::Error::other(answer.body)) }
}

/// Gets and prints every URL; fails if an answer was not 2xx.
pub(crate) async fn get_all(urls: &[String]) -> io::Result<()> {
    let mut failed = 0;
    for url in urls {
        match get(url).await {
            Ok(answer) => {
                print(url, &answer);
                failed += usize::from(!answer.is_success());
            }
            Err(error) => {
                println!("{url} failed: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} of {} failed", urls.len()))) }
}

fn print(url: &str, answer: &Answer) {
    let served_by = answer.served_by.as_deref().unwrap_or("-");
    println!("{url} {} {served_by}\n{}", answer.status, answer.body.trim_end());
}
