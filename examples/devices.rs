//! A login, and the list of the devices where a user is logged in.

use multi_process_session::{Secret, SessionManager};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = SessionManager::builder(Secret::generate()?)
        .store_url("memory:")
        .max_sessions_per_group(5) // on how many devices a user may be logged in
        .build()?;

    // The password was right. The session gets a new id, so the cookie has to be sent.
    let mut session = manager.load(None)?;
    session.set("device", "Firefox on Linux")?;
    session.set_group_name("ada");
    session.set_idle_timeout(Duration::from_secs(90 * 24 * 60 * 60)); // "remember me"
    let set_cookie = session.save()?.expect("a login gives a cookie");
    println!("Set-Cookie: {set_cookie}");

    // "Where you are logged in", and the buttons beside it.
    let group = manager.group("ada");
    for device in group.sessions_with(&["device"])? {
        println!("{:?}, last used {:?}", device.get::<String>("device")?, device.refreshed_at());
        // group.remove(device.public_id())?;
    }
    group.clear_except(&session)?; // log out everywhere else
    group.clear()?; // log out everywhere
    Ok(())
}
