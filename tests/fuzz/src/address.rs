//! Canonical addresses, and what is taken out of somebody else's words.

use invite_core::{
    Address,
    address::{MAX_LENGTH, MAX_LOCAL},
    http::{scrub, scrub_of},
    text::{cut, is_control},
};

use crate::assert_plain;

/// An address as a caller writes it, or a provider shows it.
pub fn addresses(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<Address>() {
        is_canonical(&address);
        let shown = Address::shown(text);
        assert_eq!(shown, address, "a provider that shows what it was sent shows somebody else");
    }
    // What could not be invited is shown all the same, and is then nobody's canonical address.
    let shown = Address::shown(text);
    if let Ok(read) = shown.as_str().parse::<Address>() {
        assert_eq!(read, shown, "{:?}", shown.as_str());
    }
    let ada: Address = "ada@example.org".parse().unwrap();
    let is_plain = text.is_ascii() && text.contains('@') && !text.contains('*');
    assert!(!(is_plain && ada.may_be_shown_as(text)), "plain ASCII is compared, not guessed");
    is_scrubbed(text);
}

fn is_canonical(address: &Address) {
    let canonical = address.as_str();
    assert_eq!(canonical.parse::<Address>().as_ref(), Ok(address), "{canonical:?}");
    let (local, domain) = canonical.rsplit_once('@').unwrap();
    assert!(canonical.len() <= MAX_LENGTH && local.len() <= MAX_LOCAL, "{canonical:?}");
    assert_eq!(domain, address.domain());
    assert!(domain.is_ascii() && domain.contains('.'), "{domain:?}");
    assert!(!domain.contains(|c: char| c.is_ascii_uppercase() || c.is_ascii_whitespace()));
    assert!(!canonical.contains(is_control), "{canonical:?}");
}

/// The same text as a provider's word, of which a part is known to be personal.
fn is_scrubbed(text: &str) {
    let line = scrub(text);
    assert!(line.len() <= 310, "{} bytes", line.len());
    assert_plain("what is left of a provider's word", &line);
    assert!(line.split(' ').all(|word| !is_address(word)), "{line:?}");
    let known: String = text.chars().take(6).collect();
    let unknown = scrub_of(text, [known.as_str()].into_iter());
    assert_plain("what is left of a provider's word", &unknown);
    let is_word = known.chars().count() == 6 && known.chars().all(|c| c.is_ascii_alphanumeric());
    assert!(!(is_word && unknown.contains(&known)), "{unknown:?} holds {known:?}");
    assert!(cut(text.to_owned(), 20).len() <= 20);
}

fn is_address(word: &str) -> bool {
    let letters = |part: &str| part.bytes().filter(u8::is_ascii_alphanumeric).count() > 2;
    word.split_once('@').is_some_and(|(local, domain)| letters(local) && letters(domain))
}
