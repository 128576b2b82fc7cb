//! Which user agents are programs: the list is a library's.

use std::sync::OnceLock;

use isbot::Bots;

/// Longer user agents are cut off: nobody's says what it is only behind that.
const MAX_BYTES: usize = 1_024;

/// Whether a user agent is that of a crawler, a monitor or another program that says so.
pub fn is_bot(user_agent: &str) -> bool {
    // Made at first use: the list is a large pattern, and most processes never need it.
    static BOTS: OnceLock<Bots> = OnceLock::new();
    let mut end = user_agent.len().min(MAX_BYTES);
    while !user_agent.is_char_boundary(end) {
        end -= 1;
    }
    BOTS.get_or_init(Bots::default).is_bot(&user_agent[..end])
}

#[cfg(test)]
mod tests {
    use super::is_bot;

    #[test]
    fn crawlers_are_bots_and_browsers_are_not() {
        for bot in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "curl/8.5.0",
        ] {
            assert!(is_bot(bot), "{bot}");
        }
        for browser in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        ] {
            assert!(!is_bot(browser), "{browser}");
        }
        assert!(!is_bot(&"é".repeat(5_000)));
    }
}
