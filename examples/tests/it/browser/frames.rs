//! A site in the frames of other sites.

use super::servers::{Https, Server, https};
use super::shared_browser::SharedBrowser;
use crate::support::builder;
use multi_process_session::SameSite;

#[test]
fn with_partitioned_cookies_a_frame_has_a_session_of_its_own_on_each_site_that_embeds_it() {
    let manager = builder("memory:").secure(true).same_site(SameSite::None).partitioned(true).build().unwrap();
    let (server, browser) = (Server::counting(manager), SharedBrowser::new());
    let proxy = Https::before(&server.address());
    let site = https("site.example", proxy.port());
    let embedding = Server::showing(format!("<iframe src=\"{site}\"></iframe>"));
    let embedding = Https::before(&embedding.address());
    let visits_in_frame = |host: &str| {
        browser.open(&https(host, embedding.port()));
        browser.in_frame(|| browser.text("h1"))
    };
    assert_eq!(visits_in_frame("other.test"), "1");
    assert_eq!(visits_in_frame("www.other.test"), "2", "a host of the same site");
    assert_eq!(visits_in_frame("third.test"), "1");
    browser.open(&site);
    assert_eq!(browser.text("h1"), "1");
    assert_eq!(["other.test", "third.test"].map(visits_in_frame), ["3", "2"]);

    let cookies = browser.cookies();
    let mut partitions: Vec<&str> =
        cookies.iter().filter_map(|cookie| cookie["partitionKey"]["topLevelSite"].as_str()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, ["https://other.test", "https://site.example", "https://third.test"]);
    assert!(cookies.iter().all(|cookie| cookie["name"] == "__Host-sid" && cookie["sameSite"] == "None"), "{cookies:?}");
}
