//! Heads as they come in life, for benchmarks and for what a compiler is trained with.

/// What curl sends: three fields.
pub const CURL: &str =
    "GET /api/items?page=2 HTTP/1.1\r\nHost: gateway:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// What a browser sends: twenty fields.
pub const BROWSER: &str = "GET /shop/articles/4711?ref=home&sort=price HTTP/1.1\r\nHost: shop.example.com\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://shop.example.com/shop\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
    Cookie: session=4f1d2c3b5a69788796a5b4c3d2e1f00f; consent=1; theme=dark\r\nIf-None-Match: \"33a64df5\"\r\n\
    DNT: 1\r\nPriority: u=0, i\r\n\r\n";

/// What a framework behind a server answers, but for its body of 1 KiB: eight fields.
pub const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
    Cache-Control: no-cache\r\nETag: \"33a64df5\"\r\nX-Request-Id: 7b7c\r\n\r\n";
