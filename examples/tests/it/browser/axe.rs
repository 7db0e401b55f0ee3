//! axe-core, a program that looks for barriers in a page: missing labels, weak contrast, and many more.

use super::driver::Browser;
use super::views::VIEWS;
use serde_json::json;

/// Checks the page in the tab in every view: axe-core finds nothing, and nothing is wider than the window.
#[track_caller]
pub fn check(browser: &Browser) {
    browser.run(include_str!("axe-core/axe.min.js"));
    let title = browser.run("return document.title");
    for view in VIEWS {
        view.apply(browser);
        let seen = browser.run(&format!(
            "const matches = matchMedia('(prefers-color-scheme: {})').matches;
            return [matches, innerWidth, document.documentElement.scrollWidth <= innerWidth]",
            view.scheme
        ));
        assert_eq!(seen, json!([true, view.width, true]), "{title} does not fit {view:?}");
        let found = browser.run(
            "const text = rule => [rule.help, ...rule.nodes.map(node => node.html + ' ' + node.failureSummary)];
            return axe.run().then(found => [found.passes.length > 10, found.violations.flatMap(text)])",
        );
        assert_eq!(found, json!([true, []]), "axe-core finds barriers in {title} in {view:?}");
    }
}
