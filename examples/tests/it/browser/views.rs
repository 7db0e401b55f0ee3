//! The ways to look at a page: on a phone and on a desktop, light and dark.

use super::driver::Browser;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;
use std::fs;
use std::path::Path;

/// A window and a colour scheme.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// In pixels of CSS.
    pub width: u64,
    pub scheme: &'static str,
}

pub const VIEWS: [View; 4] = [
    View { width: 390, scheme: "light" },
    View { width: 390, scheme: "dark" },
    View { width: 1280, scheme: "light" },
    View { width: 1280, scheme: "dark" },
];

impl View {
    /// Sets this size and colour scheme in the tab.
    pub fn apply(self, browser: &Browser) {
        self.resize(browser, 800);
        let scheme = json!({ "name": "prefers-color-scheme", "value": self.scheme });
        browser.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    fn resize(self, browser: &Browser, height: u64) {
        // A phone draws each pixel of CSS with several of its own. It makes a page that is not made for it small.
        let is_phone = self.width < 500;
        let scale = if is_phone { 2 } else { 1 };
        let metrics = json!({ "width": self.width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone });
        browser.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }
}

/// Takes pictures of the whole page in the tab, one for each view, to `target/screenshots`.
pub fn take_pictures(browser: &Browser, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").join("screenshots");
    fs::create_dir_all(&folder).expect("a folder");
    for view in VIEWS {
        view.apply(browser);
        let height = browser.run("return document.documentElement.offsetHeight").as_u64().expect("a height");
        view.resize(browser, height);
        let picture = browser.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let picture = picture["data"].as_str().and_then(|data| BASE64_STANDARD.decode(data).ok()).expect("a picture");
        fs::write(folder.join(format!("{name}-{}-{}.png", view.width, view.scheme)), picture).expect("a file");
    }
}
