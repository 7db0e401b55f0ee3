//! Store URLs that cannot be used: they are refused with words that say what to do, and that do not show a password.

use crate::support::builder;
use crate::support::tls::{Authority, path};
use multi_process_session::ConfigError;
use std::fs;

#[test]
fn a_store_url_that_cannot_be_used_is_refused_without_showing_a_password() {
    for url in [
        "postgres://user:hunter2@host/db",
        "hunter2",
        "hunter2:x",
        "hunter2@localhost:6379",
        "user:hunter2@localhost:6379",
        "redis://user:hunter2@:port",
        "redis://:hunter2@host:99999",
        "redis://:hunter2@host:0",
        "redis://:hunter2@host/-1",
        "redis://:hunter2@host/zero",
        "redis+unix://hunter2",
        "memory:hunter2",
        "memory://hunter2",
        "sqlite:hunter2",
        "sqlite://hunter2",
        "sqlite:///hunter2/",
        "sqlite:///a?hunter2=1",
        "",
    ] {
        let error = builder(url).build().expect_err(url);
        assert!(matches!(error, ConfigError::UnknownScheme { .. } | ConfigError::StoreUrl { .. }), "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
        assert!(shown.contains("://") || shown.contains("memory:, "), "{url}: {shown}");
    }
    let long_path = format!("redis+unix:///{}", "p".repeat(200));
    assert!(matches!(builder(&long_path).build(), Err(ConfigError::StoreUrl { .. })));
    let shown = format!("{:?}", builder("redis://user:hunter2@host"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_user_without_a_password_is_refused() {
    for (url, words) in [
        ("redis://alice@a", "user:password@"),
        ("redis://alice:@a", "user:password@"),
        ("rediss://alice@a", "user:password@"),
        ("redis+unix:///a.sock?user=alice", "&pass=password"),
        ("redis+unix:///a.sock?user=alice&pass=", "&pass=password"),
        ("redis-sentinel://alice@a#n", "user:password@"),
        ("redis-sentinel://:b@a?sentinel_user=alice#n", "sentinel_pass=password"),
        ("redis-sentinel://a?sentinel_user=alice&sentinel_pass=#n", "sentinel_pass=password"),
        ("redis-cluster://alice@a,b", "user:password@"),
        ("rediss-cluster://alice@a,b", "user:password@"),
    ] {
        let error = builder(url).build().expect_err(url).to_string();
        assert!(error.contains("names a user but no password") && error.contains(words), "{url}: {error}");
        assert!(!error.contains("alice"), "{error}");
    }
    for fine in ["redis://:b@a", "redis://alice:b@a", "redis+unix:///a.sock?user=alice&pass=b", "redis://a"] {
        builder(fine).build().unwrap();
    }
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_showing_a_password() {
    for fine in
        ["redis-sentinel://a#n", "redis-sentinel://[::1],b:1/#n", "redis-sentinel://:p%2C@a:1,b:2,c/15#my.primary-1_a"]
    {
        builder(fine).build().unwrap();
    }
    let shown = format!("{:?}", builder("redis-sentinel://[::1],b:1/#n").build().unwrap());
    assert!(shown.contains("redis://[::1]:26379, redis://b:1"), "{shown}");
    for url in [
        "redis-sentinel://:hunter2@a:26379",
        "redis-sentinel://:hunter2@a:26379#",
        "redis-sentinel://:hunter2@a:26379#hunter2!",
        "redis-sentinel://:hunter2@#n",
        "redis-sentinel://:hunter2@a,,b#n",
        "redis-sentinel://:hunter2@a,b:0#n",
        "redis-sentinel://:hunter2@a,b:hunter2#n",
        "redis-sentinel://:hunter2@a/-1#n",
        "redis-sentinel://:hunter2@a/zero#n",
        "redis-sentinel://:hunter2@a?sentinel_password=hunter2#n",
        "redis-sentinel://:hunter2@a?ca=/hunter2#n",
        "redis-sentinel:hunter2",
        "rediss-sentinel://:hunter2@a?cert=/hunter2#n",
    ] {
        let error = builder(url).build().expect_err(url);
        assert!(matches!(error, ConfigError::StoreUrl { .. }), "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("redis-sentinel://") && !shown.contains("hunter2"), "{url}: {shown}");
    }
}

#[test]
fn files_and_urls_that_cannot_be_used_are_refused_with_words_that_say_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certified, stranger) = (authority.certify(&["worker.test"]), other.certify(&["worker.test"]));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).unwrap();
        path(&folder.path().join(name)).to_owned()
    };
    let no_pem = file("no.pem", "hunter2");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n");
    let no_certificate = file("empty.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let (cert, key, ca) = (path(&certified.cert), path(&certified.key), authority.ca());
    let ca = path(&ca);
    for (query, words) in [
        ("ca=/nowhere/hunter2.pem".to_owned(), "\"ca\" of the store_url names cannot be used (I/O error: No such file"),
        (format!("ca={no_pem}"), "there is no certificate in it); it is to be a PEM file"),
        (format!("ca={broken}"), "\"ca\""),
        (format!("ca={no_certificate}"), "with the certificates of the authorities to trust"),
        (format!("ca={}", path(folder.path())), "\"ca\""),
        (format!("ca={ca}&cert=/nowhere&key={key}"), "\"cert\""),
        (format!("ca={ca}&cert={cert}&key=/nowhere"), "\"key\""),
        (format!("ca={ca}&cert={cert}&key={cert}"), "with the private key of our certificate"),
        (format!("ca={ca}&cert={cert}&key={}", path(&stranger.key)), "\"key\""),
    ] {
        let error = builder(&format!("rediss://user:hunter2@localhost?{query}")).build().expect_err(&query);
        assert!(matches!(error, ConfigError::PemFile { .. }), "{query}: {error}");
        assert!(error.to_string().contains(words), "{query}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{query}: {error}");
        assert!(std::error::Error::source(&error).is_none(), "the text has it: {error}");
    }
    for url in [
        &format!("rediss://:hunter2@localhost?ca={ca}&cert={cert}"),
        &format!("rediss://:hunter2@localhost?ca={ca}&key={key}"),
        &format!("rediss://:hunter2@localhost?ca={ca}&verify=hunter2"),
        &format!("rediss://:hunter2@localhost?ca={ca}#insecure"),
        "rediss://:hunter2@localhost#insecure",
        "rediss://:hunter2@localhost:0",
        "rediss://:hunter2@",
        "rediss://:hunter2@a..b",
        "rediss:hunter2",
        // This URL looks safe, and would not be.
        &format!("redis://:hunter2@localhost?ca={ca}"),
    ] {
        let error = builder(url).build().expect_err(url);
        assert!(matches!(error, ConfigError::StoreUrl { .. }), "{url}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("redis") && !shown.contains("hunter2"), "{url}: {shown}");
    }
}
