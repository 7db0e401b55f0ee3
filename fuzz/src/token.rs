//! Bearer tokens and form tokens. The library accepts only tokens that it has made, and does not ask the store about
//! any other text.

use crate::input::Input;
use crate::secret;
use multi_process_session::{MemoryStore, SessionManager};
use std::sync::OnceLock;

struct World {
    manager: SessionManager,
    token: String,
    csrf: String,
    others_csrf: String,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let builder = SessionManager::builder(secret(1)).accept_secret(secret(2));
        let manager = builder.store(MemoryStore::new()).build().expect("the settings are fine");
        let session_of = |user: &str| {
            let mut session = manager.load_token(None).expect("a new session");
            session.set_group_name(user);
            let csrf = session.csrf_token();
            session.save().expect("memory does not fail");
            (session.token().expect("it is kept"), csrf)
        };
        let ((token, csrf), (_, others_csrf)) = (session_of("ada"), session_of("grace"));
        World { manager, token, csrf, others_csrf }
    })
}

/// The first byte says what the rest is: a text, or changes of one of our texts.
pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input(data);
    let kind = input.below(4);
    let text = match kind {
        0 => input.0.to_vec(),
        1 => changed(&world.token, input),
        2 => changed(&world.csrf, input),
        _ => changed(&world.others_csrf, input),
    };
    let Ok(text) = std::str::from_utf8(&text) else { return };

    let calls = world.manager.stats().calls;
    let session = world.manager.load_token(Some(text)).expect("memory does not fail");
    let is_ours = text == world.token;
    assert_eq!(!session.is_new(), is_ours, "{text}");
    assert_eq!(world.manager.stats().calls - calls, u64::from(is_ours), "{text}");

    let session = world.manager.load_token(Some(world.token.as_str())).expect("memory does not fail");
    assert_eq!(session.verify_csrf(text), is_same_csrf(text, &world.csrf), "{text}");
}

/// A CSRF token is a pad and a MAC masked by it, so whoever has one can make others of the same MAC.
fn is_same_csrf(text: &str, ours: &str) -> bool {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = |letter: &u8| LETTERS.iter().position(|other| other == letter);
    let unmasked = |text: &str| -> Option<Vec<usize>> {
        let values: Vec<usize> = text.as_bytes().iter().map(value).collect::<Option<_>>()?;
        let (pad, masked) = values.split_at_checked(32)?;
        (masked.len() == 32).then(|| pad.iter().zip(masked).map(|(pad, masked)| pad ^ masked).collect())
    };
    unmasked(text).is_some_and(|mac| Some(mac) == unmasked(ours))
}

fn changed(text: &str, mut changes: Input<'_>) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    while !changes.is_used_up() && text.len() < 1000 {
        let (kind, at, byte) = (changes.below(6), changes.below(text.len() + 1), changes.byte());
        match kind {
            0 | 1 if at < text.len() => text[at] ^= byte,
            2 => text.insert(at, byte),
            3 if at < text.len() => drop(text.remove(at)),
            4 => text.truncate(at),
            5 => text.extend_from_within(at..),
            _ => {}
        }
    }
    text
}

pub fn seeds() -> Vec<Vec<u8>> {
    let world = world();
    let texts = [&world.token, &world.csrf, &world.others_csrf].map(|text| [b"\0", text.as_bytes()].concat());
    texts.into_iter().chain([vec![1], vec![2], vec![3], vec![1, 0, 50, 1], vec![2, 2, 60, 65, 0, 0, 1]]).collect()
}
