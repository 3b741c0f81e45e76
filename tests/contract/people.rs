//! The invented people who are invited. Every piece of their data is long and odd enough to be found
//! wherever it leaks to.

use invite_core::{Invitee, NewInvite};

/// The person of this number.
pub fn person(number: usize) -> Invitee {
    Invitee {
        // Written as people write: the canonical address is another.
        email: format!("Zyx.Quill{number:03}@Mail.example.org"),
        first_name: Some(format!("Zyxadora{number:03}")),
        last_name: Some(format!("Quillfeather{number:03}")),
        phone: Some(format!("+1555010{number:04}")),
        message: Some(format!("Dear quillbearer {number:03}, join")),
    }
}

/// An invite for a person that says nothing else.
pub fn invite(invitee: &Invitee) -> NewInvite {
    NewInvite { invitee: invitee.clone(), ..NewInvite::default() }
}

/// Whether a text holds any of a person's data, the phone number also without its country code.
pub fn shows(text: &str, invitee: &Invitee) -> bool {
    let text = text.to_lowercase();
    let number = invitee.phone.as_deref().map(|phone| phone.trim_start_matches("+1"));
    invitee.personal_data().chain(number).any(|piece| text.contains(&piece.to_lowercase()))
}
