//! What a copy of a store shows of sealed values, and what changes in it are noticed.

use crate::support::place::Place;
use crate::support::{builder, cookie, failure, login, public_id, rotate, session_with};
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use multi_process_session::{SessionManager, StoreErrorKind};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::time::Duration;

/// The text of `support::secret`.
const SECRET: &[u8] = b"a secret of the tests, of 32 bytes and more";

fn sealing(place: &Place) -> SessionManager {
    builder(&place.url()).seal_values().readable(["device"]).build().unwrap()
}

/// All bytes that a store keeps: those of each key, field and value in Redis, and of the files of SQLite.
fn dump(place: &Place) -> Vec<Vec<u8>> {
    let redis = match place {
        Place::Redis(redis) => redis,
        Place::Sqlite(sqlite) => {
            let files = std::fs::read_dir(sqlite.folder()).unwrap();
            return files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        }
        Place::Cluster(_) => unreachable!("it is not asked"),
    };
    let mut all = Vec::new();
    for key in redis.all_keys() {
        match redis.run::<String>(&["TYPE", &key]).as_str() {
            "hash" => all.extend(redis.run::<Vec<Vec<u8>>>(&["HGETALL", &key])),
            "zset" => all.extend(redis.run::<Vec<Vec<u8>>>(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])),
            other => panic!("{key} is a {other}"),
        }
        all.push(key.into_bytes());
    }
    all
}

/// Makes sessions of all kinds, whose values are the texts of `secrets`.
fn fill(manager: &SessionManager, secrets: &[String; 6]) -> Vec<String> {
    let visitor = session_with(manager, &[("cart", &secrets[0])]);
    let old = login(manager, "ada");
    let mut session = manager.load(&old).unwrap();
    session.set("address", &secrets[1]).unwrap();
    session.set("profile", &vec![&secrets[2]]).unwrap();
    session.flash("notice", &secrets[3]).unwrap();
    session.save().unwrap();
    let new = rotate(manager, &old, Duration::from_secs(60));
    let mut session = manager.load(&old).unwrap();
    session.set("by an old id", &secrets[4]).unwrap();
    session.save().unwrap();
    let mut token = manager.load_token(None).unwrap();
    token.set("of a token", &secrets[5]).unwrap();
    token.save().unwrap();
    vec![visitor, new]
}

/// Opens with a key what was sealed as this value of a session, or as a data key.
fn open(key: &[u8], what: &str, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, encrypted) = sealed.strip_prefix(b"\x01")?.split_at_checked(12)?;
    let aad = [what.as_bytes(), b"\0", &3_u64.to_be_bytes(), b"mps", name.as_bytes()].concat();
    let cipher = Aes256GcmSiv::new_from_slice(key).ok()?;
    let nonce: [u8; 12] = nonce.try_into().ok()?;
    cipher.decrypt(&Nonce::from(nonce), Payload { msg: encrypted, aad: &aad }).ok()
}

/// Derives from an id the key that opens a data key.
fn derived(id: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, id).expand(b"multi-process-session 1: the key of the data key", &mut key).unwrap();
    key
}

#[test]
fn a_copy_of_a_store_shows_no_value_even_with_the_secret() {
    for place in Place::all() {
        let manager = sealing(&place);
        // Each is found as it is, and in base64.
        let secrets = [1, 2, 3, 4, 5, 6].map(|number| format!("secret text number {number}, long enough to be found"));
        let headers = fill(&manager, &secrets);
        session_with(&builder(&place.url()).build().unwrap(), &[("plain", "this is how a text is found")]);
        let dump = dump(&place);
        let is_found = |text: &[u8]| dump.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text));
        assert!(is_found(b"this is how a text is found"), "the search works");
        for secret in &secrets {
            assert!(!is_found(secret.as_bytes()), "{secret}");
            for shift in 0..3 {
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let encoded = engine.encode(&secret.as_bytes()[shift..]);
                    assert!(!is_found(&encoded.as_bytes()[..encoded.len() - 4]), "{secret} in base64");
                }
            }
        }

        // Whoever knows the secret too tries each part of all that there is, as an id and as a key.
        let parts = |size: usize| {
            let all = dump.iter().map(Vec::as_slice).chain([SECRET]);
            all.flat_map(move |bytes| bytes.windows(size).map(<[u8]>::to_vec)).collect::<BTreeSet<_>>()
        };
        let sealed = sealed(&place);
        let data_keys: Vec<_> = sealed.iter().filter(|(key, _)| key.starts_with("\0\0seal")).collect();
        assert_eq!((data_keys.len(), sealed.len() - data_keys.len()), (4, 7), "each session has one, and each old id");
        let opens = |key: &[u8]| {
            let of_data_key = data_keys.iter().any(|(_, bytes)| open(key, "data key", "", &bytes[..61]).is_some());
            of_data_key || sealed.iter().any(|(name, bytes)| open(key, "value", name, bytes).is_some())
        };
        assert!(parts(24).iter().all(|id| !opens(&derived(id))), "an id of the store opens something");
        assert!(parts(32).iter().all(|key| !opens(key)), "bytes of the store open something");
        for header in headers {
            let token = header.split_once('=').unwrap().1;
            assert!(
                opens(&derived(&URL_SAFE_NO_PAD.decode(token).unwrap()[..24])),
                "a client's token opens its values"
            );
        }
    }
}

/// The sealed values in a store, each with its key.
fn sealed(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut sealed = match place {
        Place::Redis(redis) => {
            let records = redis.records().into_iter().flat_map(|key| redis.record(&key));
            records.filter_map(|(field, bytes)| Some((field.strip_prefix(':')?.to_owned(), bytes))).collect()
        }
        Place::Sqlite(sqlite) => {
            let connection = sqlite.connect();
            let mut rows = connection.prepare("SELECT key, CAST(value AS BLOB) FROM session_values").unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.collect::<Result<Vec<(String, Vec<u8>)>, _>>().unwrap()
        }
        Place::Cluster(_) => unreachable!("it is not asked"),
    };
    sealed.retain(|(_, bytes)| bytes.first() == Some(&1));
    sealed
}

/// Puts a value of one session in the place of another one, past the library.
fn put(place: &Place, manager: &SessionManager, from: (&str, &str), to: (&str, &str)) {
    let [(from, to), (from_key, to_key)] = [(from.0, to.0), (from.1, to.1)];
    let [from, to] = [from, to].map(|header| public_id(manager, header));
    match place {
        Place::Redis(redis) => {
            let value = redis.record(&format!("mps:{from}"))[&format!(":{from_key}")].clone();
            let mut set = redis::cmd("HSET");
            set.arg(format!("mps:{to}")).arg(format!(":{to_key}")).arg(value).exec(&mut redis.connect()).unwrap();
        }
        Place::Sqlite(sqlite) => {
            let sql = "UPDATE session_values SET value = 
                           (SELECT value FROM session_values JOIN sessions ON session = serial
                            WHERE id = ?1 AND key = ?2)
                       WHERE session = (SELECT serial FROM sessions WHERE id = ?3) AND key = ?4";
            let changed = sqlite.connect().execute(sql, (from.as_bytes(), from_key, to.as_bytes(), to_key)).unwrap();
            assert_eq!(changed, 1);
        }
        Place::Cluster(_) => unreachable!("it is not asked"),
    }
}

#[test]
fn a_value_that_was_moved_is_a_damaged_record() {
    for place in Place::all() {
        let manager = sealing(&place);
        let make = || session_with(&manager, &[("balance", "100"), ("limit", "9"), ("name", "one")]);
        let [header, other] = [make(), make()];
        let is_damaged = |key: &str| {
            let session = manager.load(&header).unwrap();
            let (kind, message) = failure(session.get::<String>(key));
            assert_eq!(kind, StoreErrorKind::Corrupt);
            assert!(message.contains(key) && !message.contains("100"), "{message}");
            assert_eq!(session.get::<String>("name").unwrap().as_deref(), Some("one"), "the others can be read");
        };
        put(&place, &manager, (&header, "balance"), (&header, "limit"));
        is_damaged("limit");
        put(&place, &manager, (&other, "balance"), (&header, "balance"));
        is_damaged("balance");
        let mut session = manager.load(&header).unwrap();
        session.set("limit", "10").unwrap();
        session.remove("balance");
        session.save().unwrap();
        assert_eq!(manager.load(&header).unwrap().get::<String>("limit").unwrap().as_deref(), Some("10"));

        // With the data key of another session, no value can be read. The session can be ended.
        put(&place, &manager, (&other, "\0\0seal"), (&header, "\0\0seal"));
        let session = manager.load(&header).unwrap();
        assert_eq!(failure(session.get::<String>("name")).0, StoreErrorKind::Corrupt);
        assert_eq!(
            failure(manager.transact(&header, |session| session.get::<String>("name").map(drop))).0,
            StoreErrorKind::Corrupt
        );
        let _ = manager.destroy(&header).unwrap();
        assert!(manager.load(&header).unwrap().is_new());
        assert_eq!(manager.load(&other).unwrap().get::<String>("name").unwrap().as_deref(), Some("one"));
    }
}

#[test]
fn what_one_user_could_open_does_not_open_the_values_of_the_next() {
    for place in Place::all() {
        let manager = sealing(&place);
        let data_key = |header: &str, sealed: &[(String, Vec<u8>)]| {
            let wrapped = &sealed.iter().find(|(key, _)| key == "\0\0seal").unwrap().1;
            let token = URL_SAFE_NO_PAD.decode(header.split_once('=').unwrap().1).unwrap();
            open(&derived(&token[..24]), "data key", "", wrapped).unwrap()
        };
        let ada = login(&manager, "ada");
        let of_ada = data_key(&ada, &sealed(&place));
        let mut session = manager.load(&ada).unwrap();
        session.set_group_name("grace");
        session.set("name", "Grace").unwrap();
        let grace = cookie(&session.save().unwrap().unwrap());
        let later = sealed(&place);
        let of_grace = data_key(&grace, &later);
        let name = &later.iter().find(|(key, _)| key == "name").unwrap().1;
        assert_eq!(open(&of_grace, "value", "name", name).unwrap(), b"\"Grace\"");
        assert_eq!(open(&of_ada, "value", "name", name), None);
    }
}

#[test]
fn with_a_damaged_data_key_nothing_is_stored_plain() {
    for place in Place::all() {
        let manager = sealing(&place);
        let [header, other] = [(); 2].map(|()| session_with(&manager, &[("name", "one")]));
        put(&place, &manager, (&other, "\0\0seal"), (&header, "\0\0seal"));
        let mut session = manager.load(&header).unwrap();
        session.set("name", "two").unwrap();
        assert_eq!(failure(session.save()).0, StoreErrorKind::Corrupt);
        session.remove("name");
        session.set("device", "phone").unwrap();
        session.save().unwrap();
        let session = manager.load(&header).unwrap();
        assert_eq!((session.keys(), session.get("device").unwrap()), (vec!["device"], Some("phone".to_owned())));
    }
}

#[test]
fn a_damaged_value_can_be_replaced() {
    let place = Place::redis();
    let manager = sealing(&place);
    let header = session_with(&manager, &[("theme", "dark"), ("name", "one")]);
    put(&place, &manager, (&header, "name"), (&header, "theme"));
    let mut session = manager.load(&header).unwrap();
    assert_eq!(failure(session.read_as::<serde_json::Value>()).0, StoreErrorKind::Corrupt);
    session.write_as(&serde_json::json!({ "theme": "light" })).unwrap();
    session.save().unwrap();
    let session = manager.load(&header).unwrap();
    assert_eq!(session.get::<String>("theme").unwrap().as_deref(), Some("light"));
}

#[test]
fn no_text_shows_what_was_sealed() {
    let place = Place::redis();
    let manager = sealing(&place);
    let header = session_with(&manager, &[("name", "a secret of the client")]);
    let session = manager.load(&header).unwrap();
    let token = header.split_once('=').unwrap().1;
    for text in
        [format!("{session:?}"), format!("{manager:?}"), format!("{:?}", session.get::<u8>("name").unwrap_err())]
    {
        assert!(!text.contains("a secret") && !text.contains(token), "{text}");
    }
}
