//! The name of a browser, in words.

/// Names a browser and its system from a `User-Agent` header, such as "Firefox on Linux".
///
/// The header has to name exactly the products that this browser names. Anything else is an "Unknown browser": the
/// name is for a person who looks for a stranger in a list. A browser that calls itself another one cannot be told
/// from it.
pub fn device_name(user_agent: &str) -> String {
    let system = system(user_agent);
    let browser = match (products(user_agent).as_str(), system) {
        ("Mozilla Gecko Firefox" | "Mozilla AppleWebKit FxiOS Safari", _) => "Firefox",
        ("Mozilla AppleWebKit Chrome Safari" | "Mozilla AppleWebKit HeadlessChrome Safari", _) => "Chrome",
        ("Mozilla AppleWebKit CriOS Safari", _) => "Chrome",
        ("Mozilla AppleWebKit Chrome Safari Edg" | "Mozilla AppleWebKit Chrome Safari EdgA", _) => "Edge",
        ("Mozilla AppleWebKit Version EdgiOS Safari", _) => "Edge",
        ("Mozilla AppleWebKit Chrome Safari OPR", _) => "Opera",
        ("Mozilla AppleWebKit SamsungBrowser Chrome Safari", _) => "Samsung Internet",
        ("Mozilla AppleWebKit Version Safari", Some("macOS" | "iPhone" | "iPad")) => "Safari",
        _ => "Unknown browser",
    };
    system.map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}"))
}

/// Returns the names of the products, without their versions and without the comments in parentheses.
fn products(user_agent: &str) -> String {
    let outside = user_agent.split('(').map(|part| part.split_once(')').map_or(part, |(_, outside)| outside));
    let words: String = outside.collect();
    let names = words.split_whitespace().filter_map(|word| Some(word.split_once('/')?.0));
    names.filter(|name| *name != "Mobile").collect::<Vec<_>>().join(" ")
}

/// Returns the system that the first comment names.
fn system(user_agent: &str) -> Option<&'static str> {
    let comment = user_agent.split_once('(')?.1.split(')').next()?;
    let systems = [
        ("Windows NT", "Windows"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Macintosh", "macOS"),
        ("Android", "Android"), // It names Linux too.
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    systems.into_iter().find(|(mark, _)| comment.contains(mark)).map(|(_, name)| name)
}
