//! `Cookie` headers, compared with a simple reading of RFC 6265bis.

use crate::{pair, secret};
use multi_process_session::{MemoryStore, SessionManager};
use std::sync::{Arc, OnceLock};

const NAME: &[u8] = b"__Host-sid=";
/// In an input, this byte and the six after it stand for the tokens, because a mutator would never find a valid token.
const TOKENS: u8 = 0xf0;
/// Stands for `NAME`.
const NAME_MARK: u8 = 0xf7;
/// Stands for the end of one header and the beginning of the next.
const NEXT_HEADER: u8 = 0xf8;

struct World {
    manager: SessionManager,
    /// Up to seven tokens, and the user whose live session each of them is for.
    tokens: Vec<(Vec<u8>, Option<&'static str>)>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let store = Arc::new(MemoryStore::new());
        let builder = |signs| SessionManager::builder(secret(signs)).store(store.clone());
        let old = builder(1).build().expect("the settings are fine");
        let manager = builder(2).accept_secret(secret(1)).build().expect("the settings are fine");
        let foreign = builder(2).namespace("other").build().expect("the settings are fine");

        let login = |manager: &SessionManager, user: &str, group: Option<&str>| {
            let mut session = manager.load(None).expect("a new session");
            session.set("user", user).expect("a text");
            group.inspect(|group| session.set_group_name(group));
            pair(&session.save().expect("memory does not fail").expect("a cookie"))
        };
        let ada = login(&old, "ada", None);
        let again = manager.load(ada.as_str()).expect("memory does not fail").save().expect("memory does not fail");
        let signed_anew = pair(&again.expect("a cookie by the secret that signs"));
        let ended = login(&manager, "ended", None);
        let _ = manager.destroy(ended.as_str()).expect("memory does not fail");
        let mut bearer = manager.load_token(None).expect("a new session");
        bearer.set("user", "bearer").expect("a text");
        bearer.save().expect("memory does not fail");

        let token = |cookie: String| cookie.into_bytes().split_off(NAME.len());
        let tokens = vec![
            (token(ada), Some("ada")),
            (token(signed_anew), Some("ada")),
            (token(login(&manager, "grace", None)), Some("grace")),
            (token(login(&old, "edith", Some("edith"))), Some("edith")),
            (token(login(&foreign, "foreign", None)), None),
            (token(ended), None),
            (bearer.token().expect("it is kept").into_bytes(), None),
        ];
        World { manager, tokens }
    })
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut headers = vec![Vec::new()];
    for byte in data {
        let token = byte.checked_sub(TOKENS).and_then(|number| world.tokens.get(usize::from(number)));
        let last = headers.last_mut().expect("there is at least one");
        match (*byte, token) {
            (_, Some((token, _))) => last.extend(token),
            (NAME_MARK, None) => last.extend(NAME),
            (NEXT_HEADER, None) => headers.push(Vec::new()),
            (other, None) => last.push(other),
        }
    }
    let expected = user_by_hand(world, &headers);
    let session = world.manager.load(&headers).expect("memory does not fail");
    let user = session.get::<String>("user").expect("a text");
    let shown = || headers.iter().map(|header| String::from_utf8_lossy(header)).collect::<Vec<_>>();
    assert_eq!(user.as_deref(), expected, "{:?}", shown());
    assert_eq!(session.is_new(), expected.is_none(), "{:?}", shown());
}

/// Gives the user whose session these headers name. There must be at most eight cookies of our name, with exactly one
/// live session.
fn user_by_hand(world: &World, headers: &[Vec<u8>]) -> Option<&'static str> {
    let (mut cookies, mut users) = (0, Vec::new());
    for header in headers {
        for pair in header.split(|byte| *byte == b';') {
            let mut pair = pair;
            while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = pair {
                pair = rest;
            }
            let Some(value) = pair.strip_prefix(NAME) else { continue };
            cookies += 1;
            users.extend(world.tokens.iter().filter(|(token, _)| token == value).filter_map(|(_, user)| *user));
        }
    }
    users.sort_unstable();
    users.dedup();
    if let (0..=8, [user]) = (cookies, &users[..]) { Some(user) } else { None }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let headers: [&[u8]; 9] = [
        b"a=b; \xf7\xf0; c=\"d\"",
        b"\xf7\xf0",
        b"\xf7\xf1;\t\xf7\xf0 \xf8 \xf7\xf0",
        b"\xf7\xf3; \xf7\xf4; \xf7\xf5",
        b"\xf7\xf2; \xf7\xf5",
        b"\xf7\xf0; \xf7\xf2",
        b"\xf7x; \xf7\xf6",
        b"\xf7; \xf7; \xf7; \xf7; \xf7; \xf7; \xf7; \xf7\xf0",
        b"__host-sid=\xf0; sid=\xf1; \xf7\"\xf2\"",
    ];
    headers.map(<[u8]>::to_vec).to_vec()
}
