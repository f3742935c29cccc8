//! How much memory a token in the cache takes, as the operating system sees it.

use super::cases::{filled, hmac_tokens};

const TOKENS: usize = 16_000;

pub fn print() {
    // What is allocated once, whatever the number of tokens.
    let tokens = hmac_tokens(TOKENS);
    drop(filled(&tokens[..100]));
    let before = resident();
    let (cache, _) = filled(&tokens);
    // Values are shared from the first request on that carries them.
    for token in &tokens {
        let kept = cache.get(token.as_bytes()).expect("a token in the cache");
        drop(kept.verified.headers.to_vec());
    }
    let each = (resident() - before) / TOKENS;
    let stats = cache.stats();
    println!(
        "{each} bytes for a token of {} bytes, of {TOKENS}; the cache's own estimate is {}",
        tokens[0].len(),
        stats.bytes / stats.entries
    );
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}
